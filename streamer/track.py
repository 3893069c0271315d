"""`Track`: the way of one camera's predictions through cut detection and smoothing, `SceneState`s out."""

from __future__ import annotations

from config.schema import Settings
from models.cuts import CutDetector
from models.prediction import Prediction
from models.recognizer import Recognizer
from models.smoothing import SMOOTHERS
from models.smoothing.base import Observation, Smoother
from streamer.frame import Frame
from streamer.state import Drops, ModelIdentity, SceneState


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
        self._cuts = CutDetector(cut.threshold, cut.ratio) if cut.enabled else None
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
        is_cut = self._is_cut(frame)
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
            reused=reused,
        )
        self._count += 1
        return state

    def _is_cut(self, frame: Frame) -> bool:
        if self._cuts is None:
            return False
        if frame.epoch != self._epoch:
            self._cuts.reset()
            self._epoch = frame.epoch
        return self._cuts.update(frame.image)
