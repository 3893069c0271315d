"""`Track`: the way of one camera's predictions through cut detection and smoothing, `SceneState`s out."""

from __future__ import annotations

from dataclasses import dataclass

from config.schema import Settings
from models.prediction import Prediction
from models.recognizer import Recognizer
from models.smoothing import SMOOTHERS
from models.smoothing.base import Observation, Smoother
from models.transitions import Moment, Transition, TransitionDetector
from streamer.frame import Frame
from streamer.sources.base import Mark
from streamer.state import Drops, ModelIdentity, SceneState


@dataclass(frozen=True, slots=True)
class Past:
    """An earlier run over a recording, to go on from.

    Attributes:
        track: has recalled every frame of it.
        mark: the last of these frames.
    """

    track: Track
    mark: Mark


class Track:
    """What one source has left behind: its smoother, its last picture, its count of states.

    Args:
        recognizer: made the predictions; says which model speaks.
        settings: smoother and cut detection.
    """

    def __init__(self, recognizer: Recognizer, settings: Settings) -> None:
        package = recognizer.package
        self._recognizer = recognizer
        self._smoother: Smoother = SMOOTHERS.build(
            settings.smoother.kind,
            settings.smoother.params,
            unknown_threshold=package.manifest.calibration.unknown_threshold,
        )
        self._smoother_identity = dict(self._smoother.describe())
        self._model = ModelIdentity(
            name=package.manifest.name,
            sha256=package.weights_sha256,
            labels_sha256=package.labels_sha256,
            segmenter=recognizer.segmenter,
        )
        cut = settings.cut
        self._cuts = TransitionDetector(cut.threshold, cut.ratio, gradual=cut.gradual) if cut.enabled else None
        self._epoch: int | None = None
        self._count = 0

    def advance(
        self,
        frame: Frame,
        prediction: Prediction,
        drops: Drops = Drops(),  # noqa: B008 - immutable
        reused: bool | None = None,
    ) -> SceneState:
        """The state after `frame`; frames come in order.

        Args:
            frame: the next frame of this source.
            prediction: what the networks say of it.
            drops: frames of this source lost so far.
            reused: whether that rests on the segmentation of an earlier frame; None where that is never done.
        """
        return self._state(frame, prediction, drops, reused, self._transition(frame))

    def recall(self, frame: Frame, prediction: Prediction, drops: Drops, transition: Transition | None) -> SceneState:
        """The state after a frame of an earlier run, of which everything but the picture is known.

        Before the track goes on with pictures, `glance` shows it those that the frames recalled last had.
        """
        self._epoch = frame.epoch
        return self._state(frame, prediction, drops, None, transition)

    def glance(self, frame: Frame) -> None:
        """Show the cut detector the picture of a frame that has been decided on before."""
        if self._cuts is not None:
            self._cuts.update(frame.image, _moment(frame))

    def _state(
        self, frame: Frame, prediction: Prediction, drops: Drops, reused: bool | None, transition: Transition | None
    ) -> SceneState:
        is_cut = transition is not None
        belief = self._smoother.update(
            Observation(prediction.probabilities, frame.pts, frame.time_base, frame.epoch, is_cut, prediction.p_unknown)
        )
        state = SceneState(
            frame=frame,
            seq=self._count,
            prediction=prediction,
            belief=belief,
            drops=drops,
            cut=is_cut,
            model=self._model,
            smoother=self._smoother_identity,
            groups=self._recognizer.package.group_shares(belief.probabilities, belief.p_unknown),
            transition=transition,
            reused=reused,
        )
        self._count += 1
        return state

    def _transition(self, frame: Frame) -> Transition | None:
        if self._cuts is None:
            return None
        if frame.epoch != self._epoch:
            self._cuts.reset()
            self._epoch = frame.epoch
        return self._cuts.update(frame.image, _moment(frame))


def _moment(frame: Frame) -> Moment:
    return Moment(frame.frame_id, frame.pts, frame.seconds)
