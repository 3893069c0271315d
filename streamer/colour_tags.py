"""What a video stream says about its colours (ISO/IEC 23091-2), and how RGB becomes the YUV that it announces."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from av.video.reformatter import ColorRange, Colorspace

BT709, UNSPECIFIED = 1, 2
_RGB, _BT2020, _BT2020_CONSTANT = 0, 9, 10
_MATRICES = frozenset({1, 4, 5, 6, 7, 9})
"""Those that swscale makes from RGB; its numbers are the standard's."""
_HD_LINES = 720


@dataclass(frozen=True, slots=True)
class ColourTags:
    """The four tags, in the standard's numbers; 2 is "unspecified", of the range FFmpeg's 0.

    Attributes:
        range: 1 limited ("tv"), 2 full ("pc"), 0 unspecified.
        primaries: what red, green and blue are.
        transfer: the curve from light to value.
        matrix: how YUV is made of RGB.
    """

    range: int = ColorRange.MPEG
    primaries: int = BT709
    transfer: int = BT709
    matrix: int = BT709

    @classmethod
    def of(cls, codec: Any) -> ColourTags:
        """The tags of a stream's codec context, as an H.264 stream made of its decoded RGB pictures can have them.

        Primaries and transfer are kept whatever they are, for decoding to RGB does not touch them. A matrix that is
        not YUV's, or that cannot be made, becomes the nearest one.
        """
        tags = cls(int(codec.color_range), int(codec.color_primaries), int(codec.color_trc), int(codec.colorspace))
        form = codec.format
        if tags.matrix == _RGB or (form is not None and (form.is_rgb or form.has_palette)):
            return replace(tags, range=int(ColorRange.MPEG), matrix=BT709)
        if tags.matrix == _BT2020_CONSTANT:
            return replace(tags, matrix=_BT2020)
        known = tags.matrix in _MATRICES or tags.matrix == UNSPECIFIED
        return tags if known else replace(tags, matrix=UNSPECIFIED)

    def apply(self, codec: Any) -> None:
        """Set the tags of an encoder's context."""
        codec.color_range, codec.colorspace = self.range, self.matrix
        codec.color_primaries, codec.color_trc = self.primaries, self.transfer

    def from_rgb(self, height: int) -> dict[str, int]:
        """What to tell `VideoReformatter.reformat` so that full-range RGB becomes this.

        Args:
            height: of the picture in pixels. Where the matrix is not tagged, players take BT.709 for high definition
                and BT.601 below, and so does this.
        """
        guessed = Colorspace.ITU709 if height >= _HD_LINES else Colorspace.ITU601
        return {
            "src_color_range": int(ColorRange.JPEG),
            "dst_color_range": int(ColorRange.JPEG if self.range == ColorRange.JPEG else ColorRange.MPEG),
            "dst_colorspace": int(guessed) if self.matrix == UNSPECIFIED else self.matrix,
        }
