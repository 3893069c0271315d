"""Segmenter `huggingface`: a semantic segmentation model of the library `transformers`, with ADE20K's classes.

Either it has class logits for each pixel (SegFormer, UPerNet, BEiT, DPT, ...), or masks and their classes (MaskFormer,
Mask2Former, EoMT). Its own image processor scales the pictures.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from config.plugins import MissingLibraryError, PluginParams
from models.ade20k_names import class_ids_of
from models.errors import ModelError
from models.scaling import ShortSideScaling
from models.score_maps import ClassLogits, MaskWindow, QueryMasks, ScoreMap
from models.segmentation import Picture

_MULTIPLE = 32  # what sides are rounded up to where the short side is asked for
_LONG_SIDE = 2048
_MASK_KINDS = ("maskformer", "mask2former", "eomt", "eomt_dinov3")
_WEIGHTS = "model.safetensors"
_MOST_WINDOWS = 16  # along the longer side of a picture


class Params(PluginParams):
    """Parameters of `huggingface`.

    model: the folder of a model, or its name on the hub; of the latter the library keeps a copy.
    """

    model: str


class HuggingFaceSegmenter(nn.Module):
    """A model and its image processor.

    Attributes:
        class_ids: ADE20K id of each class.
        sha256: of its weights; None where they are not one safetensors file.
    """

    def __init__(self, model: nn.Module, processor: Any, name: str, sha256: str | None) -> None:
        super().__init__()
        self.model = model
        self.processor = processor
        self.name = name
        self.sha256 = sha256
        config: Any = model.config
        self.class_ids = class_ids_of([config.id2label[i] for i in range(len(config.id2label))], name)
        self._splits = bool(getattr(processor, "do_split_image", False))
        if getattr(processor, "do_pad", False) and config.model_type.startswith("eomt"):
            raise ModelError(f"{name} pads pictures, as panoptic models do; take its semantic counterpart")

    def forward(self, x: Tensor) -> Any:
        """The model's own output for pictures (B, 3, H, W), normalised by its image processor."""
        return self.model(pixel_values=x)

    def score_maps(self, picture: Picture, short_sides: Sequence[int] | None = None) -> list[ScoreMap]:
        """See `models.torch_segmenters.PictureNetwork.score_maps`."""
        if short_sides is None:
            self._check_aspect(picture)
            return [self._score_map(picture, picture, {})]
        if self._splits:
            raise ModelError(f"{self.name} sees pictures in windows of one size; leave the short sides out")
        return [self._score_map(picture, _resized(picture, side), {"do_resize": False}) for side in short_sides]

    def _score_map(self, picture: Picture, resized: Picture, options: dict[str, Any]) -> ScoreMap:
        if getattr(self.processor, "do_center_crop", False):
            options = {**options, "do_center_crop": False}  # the map is of the whole picture
        own = np.require(resized, requirements="W")  # torch warns of arrays that it could not write to
        given = self.processor(images=own, return_tensors="pt", input_data_format="channels_last", **options)
        pixels: Tensor = given["pixel_values"]
        self._check(given)
        try:
            output = self(pixels.to(next(self.parameters()).device))
        except (ValueError, RuntimeError) as error:
            size = f"{pixels.shape[3]}x{pixels.shape[2]}"
            raise ModelError(f"{self.name} cannot see a picture at {size}: {str(error).splitlines()[0]}") from error
        if getattr(output, "masks_queries_logits", None) is None:
            return ClassLogits(output.logits[0].float())
        offsets = [int(offset[1]) for offset in given.get("patch_offsets") or [(0, 0)]]
        return _query_masks(output, offsets, picture.shape[0] > picture.shape[1], (pixels.shape[2], pixels.shape[3]))

    def _check_aspect(self, picture: Picture) -> None:
        short, long = sorted(picture.shape[:2])
        if self._splits and long > _MOST_WINDOWS * short:
            raise ModelError(
                f"{self.name} sees a picture of {long}x{short} in more than {_MOST_WINDOWS} windows; cut it into parts"
            )

    def _check(self, given: Any) -> None:
        mask = given.get("pixel_mask")
        if mask is not None and not bool(torch.as_tensor(np.asarray(mask)).all()):
            raise ModelError(f"{self.name} pads pictures, which is not supported; take `pad_size` out of its processor")


def build(params: Params) -> HuggingFaceSegmenter:
    """Load the model, its weights and its image processor; nothing that comes with them is run.

    Raises:
        MissingLibraryError: `transformers` is not installed.
        ModelError: there is no such model, it is of another kind, its weights are not whole, or its labels are not
            ADE20K's.
    """
    library = _library()
    name = f"huggingface:{params.model}"
    try:
        config = library.AutoConfig.from_pretrained(params.model, trust_remote_code=False)
        kind = _kind(library, config, name)
        processor = library.AutoImageProcessor.from_pretrained(params.model, trust_remote_code=False)
        model, report = kind.from_pretrained(
            params.model, config=config, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{name} cannot be loaded: {_first_line(error)}") from error
    if report["missing_keys"]:
        missing = ", ".join(sorted(report["missing_keys"])[:3])
        raise ModelError(f"{name} has no weights for {missing}...: it is the encoder of a segmenter, not a whole one")
    return HuggingFaceSegmenter(model.eval(), processor, name, _sha256(library, params.model))


def _library() -> ModuleType:
    try:
        return importlib.import_module("transformers")
    except ModuleNotFoundError as error:
        raise MissingLibraryError(
            "segmenter 'huggingface' needs the library 'transformers'; pip install 'scene-streamer[huggingface]'",
            name="transformers",
        ) from error


def _kind(library: ModuleType, config: Any, name: str) -> Any:
    if type(config) in library.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING:
        return library.AutoModelForSemanticSegmentation
    if config.model_type in _MASK_KINDS:
        return library.AutoModelForUniversalSegmentation
    raise ModelError(
        f"{name} is of the kind {config.model_type!r}; known: {', '.join(_MASK_KINDS)}, and "
        "what transformers lists for semantic segmentation (SegFormer, UPerNet, BEiT, DPT, ...)"
    )


def _query_masks(output: Any, offsets: Sequence[int], is_tall: bool, size: tuple[int, int]) -> QueryMasks:
    """The score map of windows that lie at `offsets` along the longer side of the picture."""
    classes = output.class_queries_logits.float().softmax(-1)[..., :-1]  # the last is "no object"
    masks = output.masks_queries_logits.float()
    places = [(offset, 0) if is_tall else (0, offset) for offset in offsets]
    return QueryMasks([MaskWindow(masks[i], classes[i], *place) for i, place in enumerate(places)], size)


def _resized(picture: Picture, short_side: int) -> Picture:
    height, width = ShortSideScaling(_MULTIPLE, _LONG_SIDE).size(picture.shape[0], picture.shape[1], short_side)
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR), np.uint8)


def _sha256(library: ModuleType, model: str) -> str | None:
    try:
        found = library.utils.cached_file(model, _WEIGHTS)
    except OSError:  # several files, or one that is no safetensors
        return None
    with Path(found).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
