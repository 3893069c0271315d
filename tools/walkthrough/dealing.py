"""Which scene comes when, and which of its pictures: random, even, without needless repetition. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tools.data.manifest import ManifestError, PictureManifest

FEWEST_PICTURES = 4
"""A segment shows at least this many different pictures."""


def pictures_by_scene(manifest: PictureManifest, scenes: Sequence[str] | None = None) -> dict[str, list[str]]:
    """Paths of the pictures of each scene, in the order of the manifest.

    Args:
        manifest: the labelled pictures.
        scenes: only these; default: all that the manifest has.

    Raises:
        ManifestError: there is no such scene, or it has too few pictures.
    """
    found: dict[str, dict[str, None]] = {}
    for entry in manifest.entries:
        found.setdefault(entry.scene, {})[entry.path] = None
    for scene in found if scenes is None else scenes:
        if scene not in found:
            raise ManifestError(f"{manifest.file} has no scene {scene!r}; it has {', '.join(sorted(found))}")
        if len(found[scene]) < FEWEST_PICTURES:
            raise ManifestError(
                f"{manifest.file} has too few pictures of {scene!r}: {len(found[scene])}, and a segment shows at least "
                f"{FEWEST_PICTURES}; name the scenes to show with --scenes, or give more pictures"
            )
    return {scene: list(found[scene]) for scene in (sorted(found) if scenes is None else dict.fromkeys(scenes))}


def deal_scenes(scenes: Sequence[str], count: int, random: Random) -> list[str]:
    """`count` scenes: each as often as any other, give or take one; of two or more scenes none twice in a row."""
    dealt: list[str] = []
    while len(dealt) < count:
        turn = random.sample(scenes, len(scenes))
        if dealt and turn[0] == dealt[-1]:
            turn.append(turn.pop(0))
        dealt += turn
    return dealt[:count]


class Deck:
    """The pictures of a scene in random order; none comes twice before all have come."""

    def __init__(self, pictures: Sequence[str], random: Random) -> None:
        self._pictures = list(pictures)
        self._random = random
        self._pile: list[str] = []

    def __len__(self) -> int:
        return len(self._pictures)

    def draw(self, count: int) -> list[str]:
        """`count` different pictures; there must be as many."""
        hand: list[str] = []
        while len(hand) < count:
            if not self._pile:
                rest = [picture for picture in self._pictures if picture not in hand]
                self._pile = self._random.sample(rest, len(rest))
            hand.append(self._pile.pop())
        return hand
