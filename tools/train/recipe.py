"""The recipe of a training run: a YAML file, checked in full before anything is read or built."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

import config
from config.errors import ConfigError
from config.plugins import describe


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Plugin(_Part):
    """A segmenter or a classifier: the name of its file and its parameters."""

    kind: str
    params: dict[str, Any] = {}


class Data(_Part):
    """Where the pictures and the teacher are, relative to the data folder."""

    scenes: str  # CSV: path, scene, split, source, group
    unknowns: bool = False  # learn from pictures of none of the scenes, which `tools.data.unknowns` makes
    pictures: tuple[str, ...] = ()  # globs of further pictures, for the segmentation
    masks: str | None = None  # folder of CamVid pictures with masks, to measure the segmentation with
    taught_masks: str | None = None  # such a folder to learn from; its masks overrule the teacher
    mask_repeats: int = Field(default=1, ge=1)  # how often each of those comes for once of another picture
    teacher: str
    dev_share: float = Field(default=0.1, gt=0, lt=0.5)


class Augmentation(_Part):
    """Chances and ranges of the picture's random changes."""

    scale: tuple[float, float] = (0.35, 1.0)  # share of the area
    ratio: tuple[float, float] = (0.6, 1.7)  # width to height, of the squashed picture
    grey: float = 0.35  # a colour picture loses its colour
    colourise: float = 0.7  # a grey picture is given colour
    jitter: float = 0.3  # brightness, contrast, saturation
    degrade: float = 0.25  # blur, noise, JPEG or low light
    degrade_strength: float = Field(default=1.0, gt=0)  # of the strongest blur, motion and noise
    plain: float = 0.0  # nothing is changed: what the teacher saw, so that its map is true to the last position
    views: int = Field(default=0, ge=0)  # of the other views that the teacher saw, such a sample shows so many
    close_up: float = 0.0  # so small a part that it shows no scene: it teaches what is unknown
    things: float = 0.0  # a part that one or two things fill (`augment.things_box`), if there is one: unknown as well


class Loss(_Part):
    """Weights of the losses beside the scene's cross-entropy."""

    rgb: float = 0.3
    semantic: float = 0.3
    segmentation: float = 1.0
    label_smoothing: float = 0.1
    distillation: float = Field(default=0.0, ge=0, le=1)  # share of another network's word in the scene's target
    unknown: float = 0.3  # of the logit of `unknown`
    uniform: float = 0.5  # of equal probabilities for pictures of none of the scenes


class Stage(_Part):
    """A stretch of training; `trains` names how far down the network is trained."""

    name: str
    trains: Literal["decoder", "heads", "upper", "middle"]
    epochs: int = Field(gt=0)
    epoch_samples: int = Field(default=6000, gt=0)  # an epoch ends, and is saved, after so many pictures
    size: int | None = Field(default=None, multiple_of=32)  # of training pictures; the network's own unless given
    augmentation: Augmentation | None = None  # the recipe's unless given
    loss: Loss | None = None  # the recipe's unless given
    lr: float = Field(gt=0)  # of the heads
    encoder_lr: float = Field(default=0.0, ge=0)
    warmup: float = Field(default=0.05, ge=0, lt=1)  # share of the stage's steps
    final: float = Field(default=0.02, ge=0, le=1)  # the cosine ends at this share of the rate
    start: tuple[str, ...] = ()  # earlier stages, whose mean weights it starts from; the one before unless given
    own_word: tuple[str, ...] = ()  # earlier stages: for `Loss.distillation`, the mean of their networks speaks too
    ema: float | None = Field(default=None, ge=0, lt=1)  # the recipe's unless given


class Recipe(_Part):
    """All of a run that is not the machine's."""

    name: str
    version: str
    labels: tuple[str, ...]
    groups: dict[str, tuple[str, ...]] = {}  # kinds of scenes, for summed probabilities
    segmenter: Plugin
    classifier: Plugin
    size: int = Field(default=224, multiple_of=32)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    data: Data
    augmentation: Augmentation = Augmentation()
    loss: Loss = Loss()
    stages: tuple[Stage, ...]
    # Stages at whose ends the weights are averaged for the release, one named twice counting twice; the epoch that did
    # best on dev unless given.
    soup: tuple[str, ...] = ()
    seed: int = 1
    batch: int = Field(default=64, gt=1)
    balance: float = Field(default=0.5, ge=0, le=1)  # 0: as the data is; 1: every scene equally often
    weight_decay: float = 0.02
    ema: float = Field(default=0.998, ge=0, lt=1)  # decay of the averaged weights, per step
    prior_correction: float = 0.0  # of the logits, times the log of how often training showed a scene
    offset_decay: float | None = Field(
        default=None, gt=0
    )  # of offsets to the scenes' logits, found on dev; none unless given
    unknown_samples: int = Field(default=0, ge=0)  # the layer of `unknown` is fitted anew to so many; 0: it is not
    known_share: float = 0.95  # of dev that stays above `unknown_threshold`

    @model_validator(mode="after")
    def _stages_exist(self) -> Recipe:
        names = [stage.name for stage in self.stages]
        for number, stage in enumerate(self.stages):
            _check_names(f"stages.{stage.name}.start", stage.start, names[:number])
            _check_names(f"stages.{stage.name}.own_word", stage.own_word, names[:number])
        _check_names("soup", self.soup, names)
        return self

    def views(self) -> int:
        """How many other views of each training picture some stage shows."""
        return max(settings.views for settings in self._augmentations())

    def shows_things(self) -> bool:
        """Whether some stage shows parts that things fill."""
        return any(settings.things for settings in self._augmentations())

    def _augmentations(self) -> list[Augmentation]:
        return [stage.augmentation or self.augmentation for stage in self.stages]

    def network(self) -> dict[str, Any]:
        """What `build_scene_network` needs."""
        return {
            "segmenter": self.segmenter.model_dump(),
            "classifier": self.classifier.model_dump(),
            "labels": list(self.labels),
        }


def _check_names(key: str, stages: tuple[str, ...], known: list[str]) -> None:
    missing = [name for name in stages if name not in known]
    if missing:
        raise ValueError(f"{key}: no stage {', '.join(missing)} here; there is {', '.join(known) or 'none'}")


def find_recipe(name: str) -> Path:
    """The file of a packaged recipe ("scene18"), or `name` itself as a path."""
    packaged = Path(config.__path__[0]) / "recipes" / f"{name}.yaml"
    return packaged if packaged.is_file() else Path(name)


def read_recipe(file: Path) -> Recipe:
    """Read and check a recipe; errors name the file and the key."""
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
        return Recipe(**values)
    except FileNotFoundError as error:
        raise ConfigError(f"no recipe at {file}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{file} is not YAML: {str(error).splitlines()[0]}") from error
    except ValidationError as error:
        raise ConfigError(f"{file}: {describe(error, Recipe)}") from error
