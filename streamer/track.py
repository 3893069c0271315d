"""`Track`: the way of one camera's frames through networks and smoothing, `Frame` in, `SceneState` out."""

from __future__ import annotations

from config.schema import Settings
from models.prediction import Prediction
from models.recognizer import Recognizer
from models.smoothing import SMOOTHERS
from models.smoothing.base import Observation, Smoother
from models.transitions import Moment, Transition, TransitionDetector
from streamer.frame import Frame
from streamer.state import Drops, ModelIdentity, SceneState


class Track:
    """What one source has left behind: its smoother, its last picture, its count of states.

    Args:
        recognizer: shared by all sources of a worker.
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

    def step(self, frame: Frame, drops: Drops = Drops()) -> SceneState:  # noqa: B008 - immutable
        """The state after `frame`; frames come in order.

        Args:
            frame: the next frame of this source.
            drops: frames of this source lost so far.
        """
        return self.advance(frame, self._recognizer.predict(frame.image), drops)

    def advance(self, frame: Frame, prediction: Prediction, drops: Drops) -> SceneState:
        """The state after `frame`, for a prediction that was made elsewhere (in a batch, in an earlier run)."""
        transition = self._transition(frame)
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
        )
        self._count += 1
        return state

    def _transition(self, frame: Frame) -> Transition | None:
        if self._cuts is None:
            return None
        if frame.epoch != self._epoch:
            self._cuts.reset()
            self._epoch = frame.epoch
        return self._cuts.update(frame.image, Moment(frame.frame_id, frame.pts, frame.seconds))
