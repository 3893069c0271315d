"""Evaluates scene networks of the reference by its protocol: centre or ten crops, their logits averaged.

"Semantic-Aware Scene Recognition" (arXiv 1909.02410). Pictures go through in batches, a batch a thread; nothing is
random, so a rerun gives the same numbers.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.classifiers.two_branch import SceneLogits
from models.crops import CropPreprocess
from models.devices import torch_device
from models.encoding import LabelBase
from models.errors import ModelError
from models.label_base import guess_label_base
from models.layers.semantic_stem import Top3
from models.scene_classifier import Branch, SceneNetworkFile, load_scene_network
from tools import metrics
from tools.common_labels import common_labels
from tools.data.layouts import Layout, overlap
from tools.data.manifest import ManifestError, PictureManifest
from tools.data.semantics import SemanticFiles
from tools.evaluation import Evaluation
from tools.parallel import default_workers, in_order, one_torch_thread
from tools.picture_choice import evenly_spread
from tools.precompute import load_segmenters, notes_of, scales_of
from tools.semantic_sources import FreshSemantics, NoSemantics, SemanticSource, StoredSemantics

FILES = "files"  # the value of `semantics` that means precomputed ones

_log = logging.getLogger(__name__)
_OUTPUTS = {"both": "scene", "rgb": "rgb", "semantic": "semantic"}


@dataclass(frozen=True)
class Protocol:
    """How a network is evaluated.

    Attributes:
        checkpoint: a checkpoint file, or a model of the kind `scene`.
        branch: whose logits count; None: the whole network's.
        ten_crop: ten crops instead of the centre.
        semantics: FILES, or the name of a segmenter that makes them on the fly.
        semantics_root: where the files lie; None: with the pictures.
        scales: short sides in pixels that a segmenter averages over; None: the paper's, where it takes any.
        label_base: of labels that are made, or that files must state; None: 0, or whatever the files have.
        float_scores: keep the segmenter's scores as they are instead of rounding them to 8 bits, as files have them.
        batch: pictures that go through the network at once.
        workers: batches at once; None: one a core.
        device: of torch.
        limit: only so many pictures, evenly spread over the list.
        partition: which of the official partitions the lists are, where their splits name the same pictures.
    """

    checkpoint: str
    branch: Branch | None = None
    ten_crop: bool = False
    semantics: str = FILES
    semantics_root: Path | None = None
    scales: tuple[int, ...] | None = None
    label_base: int | None = None
    float_scores: bool = False
    batch: int = 8
    workers: int | None = None
    device: str = "auto"
    limit: int | None = None
    partition: str | None = None


@dataclass(frozen=True)
class ReferenceResult:
    """What came out.

    Attributes:
        evaluation: the probabilities and all figures that follow from them.
        details: how they were had, ready for JSON.
        doubt: why the figures are no accuracy; None if they are one.
    """

    evaluation: Evaluation
    details: dict[str, Any]
    doubt: str | None


def evaluate_reference(
    pictures: PictureManifest, layout: Layout | None, protocol: Protocol, progress: Callable[[int, int], None]
) -> ReferenceResult:
    """Classify every picture and measure; `progress` hears how many are done, of how many.

    Raises:
        ManifestError: pictures or semantics that are missing, broken or do not fit.
        ModelError: the checkpoint or the segmenter cannot be used, or the scenes are not the data set's.
    """
    begun = time.monotonic()
    network = load_scene_network(protocol.checkpoint)
    branch = _branch(network, protocol.branch)
    labels = common_labels(network, pictures, layout)
    doubt, shared = _overlap(layout, pictures, protocol.partition)
    pictures = evenly_spread(pictures, protocol.limit)
    targets = pictures.targets(labels)
    _check_present(pictures)
    crop = network.crop if layout is None else network.crop.model_copy(update={"short_side": layout.short_side})
    device = torch_device(protocol.device)
    with one_torch_thread():
        source = _source(network, branch, pictures, layout, protocol)
        source.check(pictures)
        runner = _Runner(network, branch, crop, source, protocol.ten_crop, device)
        logits = runner.run(pictures, protocol.batch, protocol.workers or default_workers(), progress)
    # What was calibrated are the scores of the whole network, not those of one of its branches.
    temperature = network.temperature if branch == network.branch else 1.0
    probabilities = metrics.softmax(logits, temperature).astype(np.float32)
    details = {
        **_data_details(pictures, layout, protocol),
        **_network_details(network, branch, crop, protocol, device),
        "temperature": temperature,
        "semantics": source.description(),
        "overlap": shared,
        "seconds": round(time.monotonic() - begun, 1),
    }
    return ReferenceResult(
        Evaluation(labels, probabilities, targets, pictures, probabilities.max(axis=1), 0.0), details, doubt
    )


class _Runner:
    """One network, one way of seeing pictures. Its batches may run on several threads."""

    def __init__(
        self,
        network: SceneNetworkFile,
        branch: Branch,
        crop: CropPreprocess,
        source: SemanticSource,
        ten_crop: bool,
        device: str,
    ) -> None:
        self._module = network.module.to(device)
        self._output = _OUTPUTS[branch]
        self._crop = crop
        self._source = source
        self._ten_crop = ten_crop
        self._device = device
        self._stop = Event()

    def run(
        self, pictures: PictureManifest, batch: int, workers: int, progress: Callable[[int, int], None]
    ) -> NDArray[np.float32]:
        """Logits (N, C), averaged over the crops of each picture."""
        batches = [range(start, min(start + batch, len(pictures))) for start in range(0, len(pictures), batch)]
        rows = []
        with closing(in_order(lambda part: self._logits(pictures, part), batches, workers, self._stop)) as parts:
            for indices, part in zip(batches, parts, strict=True):
                rows.append(part)
                progress(indices.stop, len(pictures))
        logits = np.concatenate(rows)
        if not np.isfinite(logits).all():
            raise ModelError("the network gives numbers that are none (NaN); its weights are damaged or not trained")
        return logits

    def _logits(self, pictures: PictureManifest, indices: Sequence[int]) -> NDArray[np.float32]:
        views = []
        for index in indices:
            if self._stop.is_set():
                raise CancelledError  # nobody waits for this batch any more
            views.append(self._view(pictures, index))
        rgb, labels, scores = (np.concatenate(parts) for parts in zip(*views, strict=True))
        with torch.inference_mode():
            outputs: SceneLogits = self._module(self._tensor(rgb), Top3(self._tensor(labels), self._tensor(scores)))
            logits = getattr(outputs, self._output).float()
            # The reference averages logits, not probabilities.
            averaged = logits.view(len(views), -1, logits.shape[1]).mean(1)
        return np.asarray(averaged.cpu().numpy(), np.float32)

    def _view(self, pictures: PictureManifest, index: int) -> tuple[NDArray[np.generic], ...]:
        """Crops of a picture (n, 3, 224, 224) float32, of its labels (uint8) and of its scores (float32, 0..1)."""
        picture, crop = pictures[index], self._crop
        try:
            resized = crop.resized(picture)
        except ValueError as error:
            raise ManifestError(f"{pictures.path(index)}: {error}") from error
        semantics = self._source.resized(pictures, index, picture, crop)
        boxes = crop.boxes(resized, self._ten_crop)
        maps = [crop.map(semantics, box) for box in boxes]
        scores = np.stack([box.scores for box in maps])
        strengths = scores if scores.dtype == np.float32 else scores.astype(np.float32) / 255
        return np.stack([crop.tensor(resized, box) for box in boxes]), np.stack([m.labels for m in maps]), strengths

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(self._device)


def _branch(network: SceneNetworkFile, asked: Branch | None) -> Branch:
    if asked is None or asked == network.branch or network.branch == "both":
        return asked or network.branch
    raise ModelError(
        f"{network.source} is a {network.title} and has only the branch {network.branch!r}, not {asked!r}; leave "
        "--branch out or give a two-branch checkpoint"
    )


def _source(
    network: SceneNetworkFile, branch: Branch, pictures: PictureManifest, layout: Layout | None, protocol: Protocol
) -> SemanticSource:
    if branch == "rgb":
        return NoSemantics()
    base = None if protocol.label_base is None else LabelBase(protocol.label_base)
    if protocol.semantics == FILES:
        return StoredSemantics(SemanticFiles(protocol.semantics_root or pictures.root, layout), base)
    base = LabelBase.ZERO if base is None else base
    guess = guess_label_base(network.module.state_dict())
    if guess is not None:
        _log.info("labels are made %d-based; %s", base, guess.evidence)
    segmenters = load_segmenters(protocol.semantics, protocol.scales, protocol.device, protocol.workers)
    notes = notes_of(segmenters[0], scales_of(protocol.semantics, protocol.scales))
    return FreshSemantics(segmenters, base, notes, rounded=not protocol.float_scores)


def _overlap(
    layout: Layout | None, pictures: PictureManifest, partition: str | None
) -> tuple[str | None, dict[str, Any] | None]:
    """Why figures on these lists are no accuracy, or None; and what was found out."""
    found = None if layout is None else overlap(layout.name, pictures.root)
    if layout is None or not found:
        return None, None
    details = {"shared": found.shared, "train": found.train, "val": found.val, "equal": found.equal}
    if partition is not None:
        return None, {**details, "partition": partition}
    lists = " and ".join(layout.lists.values())
    how_far = "the same pictures" if found.equal else f"{found.shared} of {found.val} pictures twice"
    return (
        f"{lists} of {layout.title} name {how_far}, so these figures are no accuracy; if they are one of the official "
        "partitions, say which with --partition NAME"
    ), details


def _check_present(pictures: PictureManifest) -> None:
    missing = [path for path in map(pictures.path, range(len(pictures))) if not path.is_file()]
    if missing:
        raise ManifestError(
            f"{len(missing)} of the {len(pictures)} pictures in {pictures.file} are not there, the first is "
            f"{missing[0]}; is --root right, and the download whole?"
        )


def _data_details(pictures: PictureManifest, layout: Layout | None, protocol: Protocol) -> dict[str, Any]:
    return {
        "dataset": None if layout is None else layout.name,
        "root": str(pictures.root),
        "list": {"file": str(pictures.file), "sha256": hashlib.sha256(pictures.file.read_bytes()).hexdigest()},
        "limit": protocol.limit,
        "partition": protocol.partition,
    }


def _network_details(
    network: SceneNetworkFile, branch: Branch, crop: CropPreprocess, protocol: Protocol, device: str
) -> dict[str, Any]:
    own = {key: value for key, value in network.meta.items() if isinstance(value, str | int | float)}
    return {
        "checkpoint": {"source": str(network.source), "sha256": network.sha256, "title": network.title, **own},
        "branch": branch,
        "crops": 10 if protocol.ten_crop else 1,
        "preprocess": crop.model_dump(mode="json"),
        "device": device,
        "batch": protocol.batch,
        "workers": protocol.workers or default_workers(),
        "torch_threads": 1,
        "random": "none",
    }
