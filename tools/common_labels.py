"""Whether a scene network and a data set speak of the same scenes."""

from __future__ import annotations

from collections.abc import Sequence

from config.labels import LabelList, UnknownLabelError
from models.errors import ModelError
from models.scene_classifier import SceneNetworkFile
from tools.data.layouts import LAYOUTS, Layout
from tools.data.manifest import PictureManifest


def common_labels(network: SceneNetworkFile, pictures: PictureManifest, layout: Layout | None) -> tuple[str, ...]:
    """The scenes of a network and of a data set, if they are the same in the same order.

    Raises:
        ModelError: another number, other names, another order, or no names at all.
    """
    if pictures.labels is None:
        if network.labels is None:
            raise ModelError(
                f"{network.source} does not name its {network.scene_classes} scenes; import it with its labels: "
                "`scene-streamer models import --labels FILE`"
            )
        return network.labels
    title = layout.title if layout else str(pictures.file)
    if network.scene_classes != len(pictures.labels):
        other = next((row for row in LAYOUTS.values() if row.scenes == network.scene_classes), None)
        hint = f" (as many as {other.title} has: --dataset {other.name})" if other and other != layout else ""
        raise ModelError(
            f"{network.source} tells {network.scene_classes} scenes apart{hint}, but {title} in {pictures.root} has "
            f"{len(pictures.labels)}; give a checkpoint that was trained on {title}"
        )
    if network.labels is not None:
        _check_order(network, pictures.labels, title)
    return pictures.labels


def _check_order(network: SceneNetworkFile, labels: Sequence[str], title: str) -> None:
    own = LabelList(str(network.source), network.labels or ())
    for position, label in enumerate(labels):
        try:
            theirs = own.index(label)
        except UnknownLabelError as error:
            raise ModelError(f"{network.source} has other scenes than {title}: {error}") from error
        if theirs != position:
            raise ModelError(
                f"{network.source} has the scenes in another order than {title}: {label!r} is its number {theirs}, "
                f"not {position}"
            )
