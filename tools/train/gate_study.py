"""Do semantics pay, and which way of joining them pays most? A comparison on frozen features, the same for every arm.

    python -m tools.train.gate_study --root DATA --cache RUN/cache --output DIR

ImageNet's EfficientNet-Lite0 is kept as it is, so that no arm has an encoder that learnt from the segmentation; the
semantics are the teacher's. Every arm sees the same pictures in the same order, whole or as one random view each, for
the same number of steps. Arms are chosen on dev; val is for the figures: clean, and with one corruption a picture.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from models.scene_network import build_scene_network
from streamer.files import write_bytes
from tools.corruptions import CORRUPTIONS, corrupt
from tools.intervals import mca_difference_interval, mean_difference_interval
from tools.train.cache import PictureCache
from tools.train.class_maps import dense_maps
from tools.train.corpus import load_corpus
from tools.train.data import Pool, Samples, learn_palette
from tools.train.frozen import FrozenModule
from tools.train.gate_designs import DESIGNS, MAP_SIDE, Design
from tools.train.imagenet import load_imagenet
from tools.train.optimiser import adamw, half_cosine
from tools.train.recipe import Recipe, find_recipe, read_recipe
from tools.train.scoring import normalise, whole_picture
from tools.train.teacher import CLASSES, Teacher

EPOCHS, BATCH, RATE, DECAY, SMOOTHING = 14, 128, 1e-3, 0.05, 0.1
_WARM_UP = 60
_SIDE = 256  # pixels of a picture as the encoder sees it
_FLOOR = "rgb"
_MEASURED = ("dev", "val", "degraded")

Rows = NDArray[np.int64]
Bools = NDArray[np.bool_]
# A picture and its class map: labels and scores (SIDE, SIDE, 3).
Shown = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True)
class Part:
    """Features (N, 1280, 4, 4) and class probabilities (N, S, 16, 16), float16, of N pictures with their scenes."""

    rgb: Tensor
    semantic: Tensor
    targets: Tensor

    def at(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Both of some pictures, float32."""
        return self.rgb[rows].float(), self.semantic[rows].float()


def run(root: Path, cache: Path, output: Path, seeds: Sequence[int], say: Callable[[str], None]) -> dict[str, Any]:
    """Train every arm with every seed; the table as `summary` makes it, written to `output`/gates.json."""
    recipe = _scenes_alone(read_recipe(find_recipe("scene18")))
    corpus = load_corpus(recipe, root, cache, say)
    output.mkdir(parents=True, exist_ok=True)
    parts = _parts(recipe, corpus.scenes, {"train": corpus.train, "dev": corpus.dev, "val": corpus.val},
                   corpus.targets, root, output, say)  # fmt: skip
    right: dict[str, dict[str, list[Bools]]] = {}
    for name in DESIGNS:
        for seed in seeds:
            answers = _answers(name, seed, parts, len(recipe.labels), output)
            for part in _MEASURED:
                right.setdefault(name, {}).setdefault(part, []).append(answers[part])
            say(f"{name}, seed {seed}: dev {answers['dev'].mean():.4f}")
    table = summary(right, {part: parts[part].targets.numpy() for part in _MEASURED}, recipe.labels)
    (output / "gates.json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    return table


def _scenes_alone(recipe: Recipe) -> Recipe:
    """The recipe without what teaches more than scenes."""
    data = recipe.data.model_copy(update={"unknowns": False, "pictures": ()})
    return recipe.model_copy(update={"data": data, "loss": recipe.loss.model_copy(update={"distillation": 0.0})})


def _answers(name: str, seed: int, parts: dict[str, Part], scenes: int, output: Path) -> dict[str, Bools]:
    """Where an arm is right, by part; kept in `output`, so that a study that was stopped goes on."""
    file = output / f"{name}-{seed}.npz"
    if not file.exists():
        network = train(name, seed, parts["train"], parts["view"], scenes)
        kept = io.BytesIO()
        np.savez(kept, **{part: correct(network, parts[part]) for part in _MEASURED})
        write_bytes(file, kept.getvalue())
    with np.load(file) as found:
        return {part: found[part] for part in _MEASURED}


def train(name: str, seed: int, whole: Part, view: Part, scenes: int) -> Design:
    """Train an arm on pictures that are whole or one random view, as a coin says."""
    torch.manual_seed(seed)
    network = DESIGNS[name](CLASSES, scenes)  # type: ignore[call-arg]
    optimiser = adamw(network.named_parameters(), lambda _name: RATE, DECAY)
    count = len(whole.targets)
    steps = EPOCHS * (count // BATCH)
    order = torch.Generator().manual_seed(seed)
    step = 0
    for _ in range(EPOCHS):
        drawn, coins = torch.randperm(count, generator=order), torch.rand(count, generator=order) < 0.5
        network.train()
        for start in range(0, count - BATCH + 1, BATCH):
            rows = drawn[start : start + BATCH]
            coin = coins[rows][:, None, None, None]
            rgb, semantic = (torch.where(coin, a, b) for a, b in zip(view.at(rows), whole.at(rows), strict=True))
            for group in optimiser.param_groups:
                group["lr"] = RATE * min(1, (step + 1) / _WARM_UP) * half_cosine(step / steps)
            loss = F.cross_entropy(network(rgb, semantic), whole.targets[rows], label_smoothing=SMOOTHING)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            step += 1
    return network.eval()


@torch.no_grad()
def correct(network: Design, part: Part) -> Bools:
    """(N,) whether the most probable scene is the true one."""
    logits = [network(*part.at(rows)) for rows in torch.arange(len(part.targets)).split(256)]
    return np.asarray((torch.cat(logits).argmax(1) == part.targets).numpy())


def summary(
    right: dict[str, dict[str, list[Bools]]], targets: dict[str, Rows], labels: Sequence[str]
) -> dict[str, Any]:
    """By arm and part: Top@1 and MCA of each seed and their mean; the gain over RGB alone with its paired interval."""
    table: dict[str, Any] = {}
    for name, by_part in right.items():
        for part, seeds in by_part.items():
            floor, truth = np.stack(right[_FLOOR][part]), targets[part]
            mine = np.stack(seeds)
            gain = mean_difference_interval(mine.mean(0), floor.mean(0))
            mca_gains = [mca_difference_interval(m, f, truth) for m, f in zip(mine, floor, strict=True)]
            classes = [float(mine[:, truth == i].mean() - floor[:, truth == i].mean()) for i in range(len(labels))]
            table.setdefault(name, {})[part] = {
                "top1": [float(s.mean()) for s in mine],
                "mca": [_mca(s, truth) for s in mine],
                "gain": float(mine.mean() - floor.mean()),
                "gain_interval": list(gain),
                "mca_gain_intervals": [list(interval) for interval in mca_gains],
                "gain_by_scene": dict(zip(labels, classes, strict=True)),
            }
    return table


def _mca(right: Bools, targets: Rows) -> float:
    return float(np.mean([right[targets == i].mean() for i in np.unique(targets)]))


def _parts(
    recipe: Recipe, cache: PictureCache, splits: dict[str, Rows], targets: Rows, root: Path, output: Path,
    say: Callable[[str], None],
) -> dict[str, Part]:  # fmt: skip
    """Features and maps of all that is shown, made once and kept in `output`."""
    shown: dict[str, tuple[Rows, Callable[[int], Shown]]] = {
        name: (rows, lambda row: _whole(cache, row)) for name, rows in splits.items()
    }
    views = _Views(cache, splits["train"], recipe)
    shown["view"] = (splits["train"], lambda row: views[row])
    teacher = Teacher(root / recipe.data.teacher)
    shown["degraded"] = (splits["val"], lambda row: _degraded(cache, row, teacher))
    encoder = FrozenModule(_Encoder(recipe), torch.zeros(1, 3, _SIDE, _SIDE), rough=True)
    parts = {}
    for name, (rows, show) in shown.items():
        file = output / f"{name}.pt"
        if not file.exists():
            say(f"features of {name}: {len(rows)} pictures")
            torch.save(_extract(rows, show, encoder, recipe), file)
        rgb, semantic = torch.load(file, weights_only=True)
        parts[name] = Part(rgb, semantic, torch.from_numpy(targets[rows]))
    return parts


def _extract(rows: Rows, show: Callable[[int], Shown], encoder: FrozenModule, recipe: Recipe) -> tuple[Tensor, Tensor]:
    features, maps = [], []
    for chunk in np.split(rows, range(16, len(rows), 16)):
        pictures, labels, scores = (np.stack(column) for column in zip(*(show(int(r)) for r in chunk), strict=True))
        small = torch.from_numpy(np.stack([whole_picture(picture, _SIDE) for picture in pictures]))
        features.append(encoder(normalise(small, recipe.mean, recipe.std))[0].half())
        maps.append(F.adaptive_avg_pool2d(dense_maps(labels, scores), MAP_SIDE).half())
    return torch.cat(features), torch.cat(maps)


def _whole(cache: PictureCache, row: int) -> Shown:
    return np.array(cache.pictures[row]), np.array(cache.labels[row]), np.array(cache.scores[row])


class _Views:
    """One random view of each picture, as training shows it, but of half of the picture at least."""

    def __init__(self, cache: PictureCache, train: Rows, recipe: Recipe) -> None:
        everything = np.arange(len(cache.grey))
        places = np.stack([np.zeros_like(everything), everything], axis=1)
        pool = Pool((cache,), places, everything, np.zeros((len(everything), 1), np.float32))
        settings = recipe.augmentation.model_copy(update={"scale": (0.5, 1.0), "close_up": 0.0})
        palette = learn_palette(cache, train, recipe.seed)
        self._samples = Samples(pool, everything, _SIDE, settings, palette, (7,))

    def __getitem__(self, row: int) -> Shown:
        sample = self._samples[row]
        return sample.picture, sample.labels, sample.scores


def _degraded(cache: PictureCache, row: int, teacher: Teacher) -> Shown:
    """Under one corruption of the list, in turns; the teacher sees the corrupted picture too."""
    names = list(CORRUPTIONS)
    rgb = corrupt(names[row % len(names)], np.array(cache.pictures[row]), row)
    return rgb, *teacher.soft_map(rgb)


class _Encoder(nn.Module):
    """ImageNet's features (B, 1280, 4, 4) of pictures (B, 3, 256, 256)."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        network = build_scene_network(recipe.network())
        load_imagenet(network)
        self.encoder, self.head = network.segmenter.encoder, network.classifier.head
        self.eval()

    def forward(self, picture: Tensor) -> Tensor:
        return F.avg_pool2d(self.head(self.encoder(picture).stride32), 2)  # type: ignore[operator]


def main() -> None:
    """Run the study as its arguments say; the table goes to stdout as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="the data folder")
    parser.add_argument("--cache", type=Path, required=True, help="cache of a run of the recipe scene18")
    parser.add_argument("--output", type=Path, required=True, help="where features and gates.json are written")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    given = parser.parse_args()
    table = run(given.root, given.cache, given.output, given.seeds, lambda line: sys.stderr.write(line + "\n"))
    sys.stdout.write(json.dumps(table) + "\n")


if __name__ == "__main__":
    main()
