"""`CsailSegmenter`: an encoder and a decoder of the MIT scene-parsing project as one network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.device_frames import normalised, resized
from models.layers.csail.decoders import CLASSES
from models.scaling import ScaleParams, ShortSideScaling
from models.score_maps import ClassLogits
from models.segmentation import Picture


class CsailSegmenter(nn.Module):
    """Names 150 ADE20K classes at every pixel; channel c is class id c + 1.

    Args:
        encoder, decoder: with the parameter names of the project's two checkpoint files.
        multiple: what the sides of the encoder's input are multiples of.
        params: the scales at which pictures are seen.

    Attributes:
        short_sides: those scales, in pixels.
    """

    class_ids = tuple(range(1, CLASSES + 1))

    def __init__(self, encoder: nn.Module, decoder: nn.Module, multiple: int, params: ScaleParams) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.short_sides = params.short_sides
        self._scaling = ShortSideScaling(multiple, params.long_side)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Softmax probabilities (B, 150, *size) for pictures (B, 3, H, W) float32, normalised."""
        return F.interpolate(self.class_logits(x), size, mode="bilinear", align_corners=False).softmax(1)

    def class_logits(self, x: Tensor) -> Tensor:
        """Logits (B, 150, h, w) at the decoder's own resolution, a quarter or an eighth of the pictures'."""
        logits: Tensor = self.decoder(self.encoder(x))
        return logits

    def score_maps(self, picture: Picture, short_sides: Sequence[int] | None = None) -> list[ClassLogits]:
        """See `models.torch_segmenters.PictureNetwork.score_maps`."""
        device = next(self.parameters()).device
        views = (self.view(picture, side) for side in short_sides or self.short_sides)
        return [ClassLogits(self.class_logits(view.to(device))[0].float()) for view in views]

    def frame_logits(self, frames: Tensor, short_sides: Sequence[int] | None = None) -> list[Tensor]:
        """See `models.torch_segmenters.PictureNetwork`: what `score_maps` does, of frames on the network's device."""
        height, width = frames.shape[1:3]
        found = []
        for side in short_sides or self.short_sides:
            view = resized(frames, self._scaling.size(height, width, side))
            found.append(self.class_logits(normalised(view, self._scaling.mean, self._scaling.std)).float())
        return found

    def view(self, picture: Picture, short_side: int) -> Tensor:
        """A picture (H×W×3 uint8 RGB) as the encoder sees it at a scale: (1, 3, h, w) float32, normalised."""
        return torch.from_numpy(self._scaling(picture, short_side))[None]
