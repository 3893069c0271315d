"""Parts of walkthroughs' truths, for tests that write one down: ten ticks a second."""

from __future__ import annotations

from tools.walkthrough.truth import TransitionTruth


def span(start: int, end: int) -> dict:
    return {"start_pts": start, "end_pts": end, "start_s": start / 10, "end_s": end / 10}


def transition(kind: str, start: int, end: int, from_scene: str, to_scene: str) -> TransitionTruth:
    middle = (start + end) // 2
    return TransitionTruth(
        kind=kind,
        **span(start, end),
        midpoint_pts=middle,
        midpoint_s=middle / 10,
        from_scene=from_scene,
        to_scene=to_scene,
        changes_scene=from_scene != to_scene,
    )
