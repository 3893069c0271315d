"""The recipe of a two-stage training: a YAML file, perhaps built on another one, checked in full before anything runs.

`extends: NAME` begins from another recipe. `defaults:` holds what all stages share; a stage's own keys win.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from config.errors import ConfigError
from config.faults import describe
from config.yaml12 import parse_yaml
from tools.train.recipe import find_recipe

METHOD = "two_stage"

StageName = Literal["rgb", "semantic", "both"]
STAGES: tuple[StageName, ...] = get_args(StageName)
Precision = Literal["float32", "bfloat16", "float16"]

Values = dict[str, Any]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(_Part):
    """The pictures, and those that a run is watched on: it keeps the weights that did best there.

    layout: a public data set (ade20k, mit67, sun397, places365); or
    manifest: a CSV file under the root, with the columns path, scene, split and perhaps group.
    train: the split to train on.
    watch: the split to watch, as the reference does with val; or "dev", a part of `train` carved out by group.
    dev_share: share of `train` that becomes dev.
    per_scene_limit: take so many pictures of a scene at most, to train on.
    watch_per_scene_limit: the same for the pictures to watch.
    short_side: pixels that pictures are resized to; null leaves them as they are; a layout knows its own.
    semantics: folder of the precomputed semantics; the root unless given.
    """

    layout: Literal["ade20k", "mit67", "sun397", "places365"] | None = None
    manifest: str | None = None
    train: str = "train"
    watch: str = "val"
    dev_share: float = Field(default=0.1, gt=0, lt=0.5)
    per_scene_limit: int | None = Field(default=None, ge=1)
    watch_per_scene_limit: int | None = Field(default=None, ge=1)
    short_side: int | None = Field(default=256, ge=224)
    semantics: str | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.layout is None) == (self.manifest is None):
            raise ValueError("give either layout (a public data set) or manifest (a CSV file)")
        if self.watch == self.train:
            raise ValueError(f"watch is the split that is trained on; 'dev' takes a part of {self.train!r} aside")
        return self


class Augmentation(_Part):
    """Random changes of a picture, in the order in which they are made.

    mirror: chance of a mirror image.
    blur, blur_sigma: chance of a Gaussian blur, and its largest sigma in pixels.
    contrast: range of the factor by which values leave the middle grey.
    noise: largest standard deviation of additive Gaussian noise, of values in 0..1.
    brightness: range of the factor of all values.
    drop: range of the share of pixels whose semantic labels are set to 0.
    """

    mirror: float = Field(default=0.5, ge=0, le=1)
    blur: float = Field(default=0.5, ge=0, le=1)
    blur_sigma: float = Field(default=0.5, ge=0)
    contrast: tuple[float, float] = (0.75, 1.5)
    noise: float = Field(default=0.05, ge=0)
    brightness: tuple[float, float] = (0.8, 1.2)
    drop: tuple[float, float] = (0.05, 0.2)


class OptimiserSettings(_Part):
    """The optimiser of a stage and the course of its rate.

    kind: dfw (Deep Frank-Wolfe), adamw or sgd.
    lr: the rate; of Deep Frank-Wolfe its eta.
    momentum: of dfw and sgd.
    schedule: constant; cosine down to `final` of the rate; step: times `step_factor` after every `step_epochs`.
    warmup: share of the stage's steps in which the rate rises from 0.
    """

    kind: Literal["dfw", "adamw", "sgd"] = "dfw"
    lr: float = Field(default=0.1, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=1e-4, ge=0)
    schedule: Literal["constant", "cosine", "step"] = "constant"
    final: float = Field(default=0.01, ge=0, le=1)
    step_epochs: int = Field(default=30, ge=1)
    step_factor: float = Field(default=0.1, gt=0, le=1)
    warmup: float = Field(default=0.0, ge=0, lt=1)


class Stage(_Part):
    """How one network is trained.

    epochs: at most so many.
    epoch_samples: an epoch ends, is measured and saved after so many pictures; after all of them unless given.
    batch: pictures in a step, over all processes together.
    precision: float32; or mixed with bfloat16, or (on CUDA, with a scaled loss) with float16.
    patience: stop after so many epochs without a better figure on the watched pictures; null never stops early.
    label_smoothing: of the cross-entropy.
    """

    epochs: int = Field(ge=1)
    epoch_samples: int | None = Field(default=None, ge=1)
    batch: int = Field(default=100, ge=1)
    precision: Precision = "float32"
    patience: int | None = Field(default=None, ge=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    optimiser: OptimiserSettings = OptimiserSettings()


class Stages(_Part):
    """The three networks: each branch alone, then both with the branches as they are."""

    rgb: Stage
    semantic: Stage
    both: Stage


class Start(_Part):
    """Weights to begin from: a checkpoint or a model; random unless given, for `both` the best of this run's branches.

    rgb: for the RGB stage, a ResNet in torchvision's names (its `fc` is left out unless it fits) or an RGB branch.
    semantic: for the semantic stage.
    both_rgb, both_semantic: the trained branches that the last stage takes.
    """

    rgb: str | None = None
    semantic: str | None = None
    both_rgb: str | None = None
    both_semantic: str | None = None


class Recipe(_Part):
    """All of a run that is not the machine's."""

    method: Literal["two_stage"]
    name: str
    version: str = "1"
    data: Data
    backbone: Literal["resnet18", "resnet50"] = "resnet18"
    stages: Stages
    start: Start = Start()
    augmentation: Augmentation = Augmentation()
    seed: int = Field(default=1, ge=0)

    def stage(self, name: StageName) -> Stage:
        """The settings of a stage."""
        stage: Stage = getattr(self.stages, name)
        return stage

    def relevant(self, name: StageName) -> Values:
        """What of the recipe a stage's result depends on; the other stages are left out."""
        values = self.model_dump(mode="json")
        return {**values, "stages": {name: values["stages"][name]}}


def read_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe: packaged, or a file; `overrides` are `a.b=c`, c a YAML value.

    Raises:
        ConfigError: no such file, not YAML, a key that does not exist or a value it cannot have; one line that says
            where.
    """
    file = find_recipe(name)
    values = _layered(file)
    for text in overrides:
        values = _merged(values, _override(text))
    return _validated(values, str(file), bool(overrides))


def recipe_method(name: str) -> str | None:
    """The `method` that a recipe, or the one it extends, names; None for a recipe without one."""
    method = _layered(find_recipe(name)).get("method")
    return None if method is None else str(method)


def _layered(file: Path, above: tuple[Path, ...] = ()) -> Values:
    """The values of a file over those of the recipe that it extends."""
    values = _read(file)
    base = values.pop("extends", None)
    if base is None:
        return values
    packaged = find_recipe(str(base))
    lower = packaged if packaged.is_file() else file.parent / str(base)
    if lower in (file, *above):
        raise ConfigError(f"{file}: extends {base!r}, which extends this one")
    if not lower.is_file():
        raise ConfigError(f"{file}: extends {base!r}, which is neither a packaged recipe nor a file beside it")
    return _merged(_layered(lower, (*above, file)), values)


def _read(file: Path) -> Values:
    try:
        values = parse_yaml(file.read_bytes(), str(file))
    except FileNotFoundError as error:
        known = ", ".join(sorted(path.stem for path in find_recipe("scene18").parent.glob("*.yaml")))
        raise ConfigError(f"no recipe at {file}; packaged ones: {known}") from error
    except OSError as error:
        raise ConfigError(f"cannot read the recipe {file}: {error.strerror}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: a recipe is a mapping (`key: value` lines)")
    return values


def _override(text: str) -> Values:
    key, equals, value = text.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise ConfigError(f"--set {text}: write it as KEY=VALUE, for example stages.rgb.epochs=10")
    values: Any = parse_yaml(value, f"--set {key}")
    for part in reversed(parts):
        values = {part: values}
    return dict(values)


def _merged(lower: Values, upper: Mapping[Any, Any]) -> Values:
    result = dict(lower)
    for key, value in upper.items():
        below = result.get(key)
        # Rates of another optimiser mean nothing to this one.
        other_kind = isinstance(below, dict) and isinstance(value, Mapping) and _differ(below, value)
        if isinstance(value, Mapping) and isinstance(below, dict) and not other_kind:
            result[key] = _merged(below, value)
        else:
            result[key] = value
    return result


def _differ(below: Values, value: Mapping[Any, Any]) -> bool:
    kinds = (below.get("kind"), value.get("kind"))
    return None not in kinds and kinds[0] != kinds[1]


def _validated(values: Values, origin: str, changed: bool) -> Recipe:
    values = dict(values)
    defaults, stages = values.pop("defaults", {}), values.get("stages", {})
    if isinstance(defaults, dict) and isinstance(stages, dict):
        shared = dict.fromkeys(STAGES, defaults)
        values["stages"] = _merged(shared, stages) if defaults else stages
    else:
        raise ConfigError(f"{origin}: defaults and stages are groups of keys")
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        where = f"{origin} (with --set)" if changed else origin
        raise ConfigError(f"{where}: {describe(error, Recipe)}") from error
