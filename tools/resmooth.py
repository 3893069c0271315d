"""Smooths recorded labels again, with other settings, without video or networks.

A recording of `annotate` has the probabilities of all scenes in every label (`probabilities`, `raw_p_unknown`), to the
last digit: the same settings give the same states. Labels of the bus have the five best only; the rest is then shared
out evenly among the other scenes, and the log says so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from config.errors import UserError
from config.schema import PluginChoice
from models.errors import ModelError
from models.hindsight import smooth_offline
from models.package import ModelPackage, find_package
from models.smoothing import SMOOTHERS
from models.smoothing.base import Belief, Observation
from models.smoothing.hidden_markov import Params
from streamer.encoding import Body, check_values, encode, plain
from streamer.errors import MessageError
from streamer.message import belief_body, check_head
from streamer.message_file import check_format, read_messages, write_messages

log = logging.getLogger(__name__)

OFFLINE_KIND = "hidden_markov"
"""The smoother that can look ahead."""


class RecordingError(UserError):
    """Recorded labels that cannot be used; says the file and the line."""


@dataclass(frozen=True)
class Recording:
    """The labels of one source in one run.

    Attributes:
        bodies: label bodies, in order.
        labels: the scenes, in the order of the model.
        package: the model that spoke, if it is on this machine.
        unknown_threshold: the one that was in force.
    """

    bodies: list[Body]
    labels: tuple[str, ...]
    package: ModelPackage | None
    unknown_threshold: float


def resmooth_file(labels: Path, output: Path, smoother: PluginChoice, *, offline: bool = False) -> int:
    """Smooth a file of labels again; other messages are kept as they are.

    Args:
        labels: a file of messages (see `streamer.message_file`).
        output: the file to write, MCAP if its name ends so; may be the same.
        smoother: kind and parameters.
        offline: look ahead, by `models.hindsight`.

    Returns:
        How many labels there were.

    Raises:
        LabelFileError: the file cannot be read, or a line is no JSON.
        RecordingError: a line is no message of protocol version 1, or a label without scenes.
        MissingLibraryError: MCAP without the library for it.
        ConfigError: the smoother does not exist or has no such parameters, or cannot look ahead.
        OutputError: the output cannot be written.
    """
    params = SMOOTHERS.params(smoother.kind, smoother.params)
    if offline and not isinstance(params, Params):
        raise UserError(
            f"looking ahead is for the smoother {OFFLINE_KIND}, not {smoother.kind}: --set smoother={OFFLINE_KIND}"
        )
    check_format(output)
    bodies = list(_read(labels))
    streams: dict[tuple[str, str], list[Body]] = {}
    for body in bodies:
        if body["type"] == "label":
            streams.setdefault((body["source"], body["run"]), []).append(body)
    if not streams:
        raise RecordingError(f"{labels} has no labels; `scene-streamer annotate` writes such files, *.labels.jsonl")
    for stream in streams.values():
        try:
            _resmooth(_recording(stream), smoother, offline=offline)
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise RecordingError(f"{labels}: a label has faulty entries ({type(error).__name__}: {error})") from error
    write_messages(output, ((encode(body, "json"), body) for body in bodies))
    return sum(map(len, streams.values()))


def observations_of(recording: Recording) -> list[Observation]:
    """What the smoother was given, frame by frame."""
    place = {label: i for i, label in enumerate(recording.labels)}
    return [_observation(body, place) for body in recording.bodies]


def _resmooth(recording: Recording, smoother: PluginChoice, *, offline: bool) -> None:
    """Replace what the smoother said in all bodies of a recording."""
    observations, threshold = observations_of(recording), recording.unknown_threshold
    built = SMOOTHERS.build(smoother.kind, smoother.params, unknown_threshold=threshold)
    identity = plain(built.describe())
    beliefs: Iterable[Belief]
    if offline:
        identity["offline"] = True
        params = SMOOTHERS.params(smoother.kind, smoother.params)
        assert isinstance(params, Params), "it was checked"
        beliefs = smooth_offline(observations, params, threshold)
    else:
        beliefs = map(built.update, observations)
    for body, belief in zip(recording.bodies, beliefs, strict=True):
        body |= belief_body(belief, recording.labels) | {"smoother": identity}
        # What the former smoother said, and cannot be said anew, must not stand.
        if belief.p_unknown is None:
            body.pop("p_unknown", None)
        if recording.package is None:
            body.pop("groups", None)
        elif "groups" in body:
            body["groups"] = recording.package.group_shares(belief.probabilities, belief.p_unknown)


def _recording(bodies: list[Body]) -> Recording:
    first = bodies[0]
    package = _package(first["model"])
    whole = "probabilities" in first
    if whole:
        labels: Sequence[str] = list(first["probabilities"])
    elif package is not None:
        labels = package.labels
    else:
        labels = sorted({scene for body in bodies for scene, _ in [*body["raw"], *body["smoothed"]]})
    name = first["source"]
    if not whole:
        log.warning("%s: only the five best scenes were recorded; the rest is shared out evenly among the others", name)
    if package is None:
        log.warning("%s: model %s is not on this machine; groups are left out", name, first["model"].get("name"))
    return Recording(bodies, tuple(labels), package, float(first["smoother"].get("unknown_threshold", 0.0)))


def _package(model: Mapping[str, Any]) -> ModelPackage | None:
    """The model that spoke, or another version with the same scenes; None if it is not here."""
    try:
        package = find_package(str(model["name"]))
    except ModelError:
        return None
    return package if package.labels_sha256 == model["labels_sha256"] else None


def _observation(body: Body, place: Mapping[str, int]) -> Observation:
    probabilities = np.zeros(len(place), np.float32)
    if "probabilities" in body:
        for scene, p in body["probabilities"].items():
            probabilities[place[scene]] = p
        p_unknown = body.get("raw_p_unknown")
    else:
        best = {place[scene]: p for scene, p in body["raw"]}
        others = len(place) - len(best)
        if others:
            probabilities[:] = max(0.0, 1.0 - sum(best.values())) / others
        for index, p in best.items():
            probabilities[index] = p
        p_unknown = body.get("p_unknown")  # smoothed, for want of the frame's own
    return Observation(
        probabilities, body["pts"], Fraction(*body["time_base"]), body["epoch"], "cut" in body, p_unknown
    )


def _read(labels: Path) -> Iterator[Body]:
    for message in read_messages(labels, whole=True):
        try:
            check_values(message.body)
            check_head(message.body)
        except MessageError as error:
            raise RecordingError(f"{message.where}: {error}") from error
        yield message.body
