"""Training on synthetic pictures: the split, the samples, learning at all, and going on where a run was broken off."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from config.errors import ConfigError
from models.scene_network import TrainingOutput, build_scene_network
from tools import metrics
from tools.data.manifest import Entry, ManifestError, PictureManifest
from tools.train import augment, loop, scoring
from tools.train import corpus as corpus_module
from tools.train import stage as stage_module
from tools.train import teacher as teacher_module
from tools.train.cache import PICTURE_SIDE, PictureCache, View, is_grey
from tools.train.corpus import Corpus
from tools.train.data import NO_SCENE, UNKNOWN, Pool, Samples, cut_map, dev_rows, epoch_order, learn_palette
from tools.train.frozen import FrozenModule
from tools.train.losses import scene_loss, segmentation_loss
from tools.train.recipe import Augmentation, Loss, Recipe, find_recipe, read_recipe
from tools.train.scoring import find_temperature, find_threshold, find_unknown
from tools.train.stage import learning_rate
from tools.train.teacher import CLASSES, SIDE, TOP, top_classes
from tools.train.unknown_layer import fit_logistic, fit_unknown_layer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

CHAIR = 20  # its ADE20K id
COLOURS = {"bedroom": (180, 60, 60), "forest": (40, 160, 50), "street": (90, 90, 170)}


def synthetic_cache(count: int, seed: int = 0) -> tuple[PictureCache, np.ndarray]:
    """Noisy pictures, each in its scene's colour; the upper half is class 3 (sky), the lower the scene's own."""
    rng = np.random.default_rng(seed)
    targets = np.arange(count) % len(COLOURS)
    colours = np.array(list(COLOURS.values()))[targets]
    noise = rng.integers(-30, 30, (count, PICTURE_SIDE, PICTURE_SIDE, 3))
    pictures = np.clip(colours[:, None, None] + noise, 0, 255).astype(np.uint8)
    labels = np.zeros((count, SIDE, SIDE, TOP), np.uint8)
    labels[:, : SIDE // 2, :, 0] = 3
    labels[:, SIDE // 2 :, :, 0] = (10 + targets)[:, None, None]
    labels[..., 1:] = (1, 2)
    scores = np.broadcast_to(np.array([230, 15, 10], np.uint8), labels.shape).copy()
    grey = np.zeros(count, bool)
    return PictureCache(pictures, grey, labels, scores), targets.astype(np.int64)


def small_recipe(**changes: Any) -> Recipe:
    stages = [{"name": "heads", "trains": "heads", "epochs": 2, "epoch_samples": 24, "lr": 5e-3}]
    values: dict[str, Any] = {
        "name": "small",
        "version": "1",
        "labels": tuple(COLOURS),
        "segmenter": {"kind": "lite_fpn", "params": {"width": 16}},
        "classifier": {"kind": "semantic_gate", "params": {"semantic_widths": (64, 64, 64)}},
        "size": 64,
        "data": {"scenes": "scenes.csv", "teacher": "teacher.tflite"},
        "augmentation": {"grey": 0.0, "degrade": 0.5},
        "stages": stages,
        "batch": 8,
    }
    return Recipe(**(values | changes))


def corpus(count: int = 24) -> Corpus:
    cache, targets = synthetic_cache(count)
    rows = np.arange(count)
    places = np.stack([np.zeros_like(rows), rows], axis=1)
    wanted = np.zeros((count, len(COLOURS)), np.float32)
    return Corpus(Pool((cache,), places, targets, wanted), cache, targets, rows, rows[:9], rows[:9])


class RunsInTorch:
    """Stands in for `FrozenModule`: compiling would take most of these tests' time."""

    def __init__(self, module: torch.nn.Module, _example: torch.Tensor, rough: bool = False) -> None:
        self.module = copy.deepcopy(module).eval()

    @torch.no_grad()
    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output = self.module(x)
        return (output,) if isinstance(output, torch.Tensor) else tuple(output)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop, "load_imagenet", lambda network: None)
    monkeypatch.setattr(stage_module, "FrozenModule", RunsInTorch)
    monkeypatch.setattr(scoring, "FrozenModule", RunsInTorch)


def trainer(recipe: Recipe, output: Path, said: list[str]) -> loop.Trainer:
    output.mkdir(exist_ok=True)
    return loop.Trainer(recipe, corpus(), output, 0, said.append)


class TestSplit:
    entries = tuple(
        Entry(
            i,
            f"{i}.jpg",
            "house" if i % 3 else "street",
            "train",
            "a" if i % 2 else "b",
            f"g{i // 4}" if i < 80 else "",
        )
        for i in range(400)
    )

    def test_groups_stay_together(self):
        chosen = dev_rows(self.entries, 0.25)
        for group in {(e.group, e.source) for e in self.entries if e.group}:
            members = [bool(c) for c, e in zip(chosen, self.entries, strict=True) if (e.group, e.source) == group]
            assert len(set(members)) == 1

    def test_share_and_repeatability(self):
        chosen = dev_rows(self.entries, 0.25)
        assert chosen.mean() == pytest.approx(0.25, abs=0.02)
        assert np.array_equal(chosen, dev_rows(self.entries, 0.25))

    def test_order_of_the_lines_does_not_matter(self):
        forward = dev_rows(self.entries, 0.25)
        backward = dev_rows(self.entries[::-1], 0.25)
        assert np.array_equal(forward, backward[::-1])


class TestOrder:
    targets = np.array([0] * 80 + [1] * 20 + [NO_SCENE] * 10)

    def test_balance_makes_rare_scenes_frequent(self):
        order = epoch_order(self.targets, 1.0, 1100, (0,))
        drawn = np.bincount(self.targets[order] + 1)
        assert drawn[1] == pytest.approx(drawn[2], abs=2)
        assert drawn[0] == pytest.approx(100, abs=2)

    def test_without_balance_every_picture_comes_equally_often(self):
        order = epoch_order(self.targets, 0.0, 220, (0,))
        assert set(np.bincount(order)) == {2}

    def test_same_seed_same_order(self):
        assert np.array_equal(epoch_order(self.targets, 0.5, 50, (1, 2)), epoch_order(self.targets, 0.5, 50, (1, 2)))
        assert not np.array_equal(
            epoch_order(self.targets, 0.5, 50, (1, 2)), epoch_order(self.targets, 0.5, 50, (1, 3))
        )


class TestAugmentation:
    def test_a_sample_depends_on_its_place_alone(self):
        cache, targets = synthetic_cache(6)
        places = np.stack([np.zeros(6, int), np.arange(6)], axis=1)
        palette = learn_palette(cache, np.arange(6), 0)
        pool = Pool((cache,), places, targets, np.zeros((6, 3), np.float32))
        samples = Samples(pool, np.arange(6), 64, Augmentation(), palette, (5, 1))
        first, again = samples[3], samples[3]
        assert np.array_equal(first.picture, again.picture)
        assert first.picture.shape == (64, 64, 3)
        assert first.picture.dtype == np.uint8
        assert first.target == targets[3]
        assert first.labels.shape == first.scores.shape == (16, 16, 3)

    def test_plain_samples_are_what_the_teacher_saw(self):
        cache, targets = synthetic_cache(6)
        pool = Pool((cache,), np.stack([np.zeros(6, int), np.arange(6)], axis=1), targets, np.ones((6, 3), np.float32))
        palette = learn_palette(cache, np.arange(6), 0)
        settings = Augmentation(plain=1.0, close_up=1.0)
        sample = Samples(pool, np.arange(6), PICTURE_SIDE, settings, palette, (5, 1))[2]
        np.testing.assert_array_equal(sample.picture, cache.pictures[2])
        np.testing.assert_array_equal(sample.labels, cache.labels[2])
        np.testing.assert_array_equal(sample.scores, cache.scores[2])
        assert sample.target == targets[2]

    def test_plain_samples_take_every_view_of_a_picture(self):
        cache, targets = synthetic_cache(6)
        views = tuple(synthetic_cache(4, seed)[0] for seed in (1, 2))
        places = np.stack([np.zeros(6, int), np.arange(6)], axis=1)
        pool = Pool((cache,), places, targets, np.ones((6, 3), np.float32), views)
        palette = learn_palette(cache, np.arange(6), 0)
        settings = Augmentation(plain=1.0, views=2)
        samples = Samples(pool, np.full(30, 3), PICTURE_SIDE, settings, palette, (5, 1))
        seen = {samples[i].picture.tobytes() for i in range(30)}
        assert seen == {of.pictures[3].tobytes() for of in (cache, *views)}
        beyond = Samples(pool, np.full(9, 5), PICTURE_SIDE, settings, palette, (5, 1))
        assert {beyond[i].picture.tobytes() for i in range(9)} == {cache.pictures[5].tobytes()}

    def test_close_ups_show_no_scene(self):
        cache, targets = synthetic_cache(6)
        pool = Pool((cache,), np.stack([np.zeros(6, int), np.arange(6)], axis=1), targets, np.zeros((6, 3), np.float32))
        palette = learn_palette(cache, np.arange(6), 0)
        samples = Samples(pool, np.arange(6), 64, Augmentation(close_up=1.0), palette, (5, 1))
        assert {samples[i].target for i in range(6)} == {UNKNOWN}

    def test_parts_that_things_fill_show_no_scene(self):
        cache, targets = synthetic_cache(6)
        cache.labels[2, 30:60, 20:50, 0] = CHAIR
        pool = Pool((cache,), np.stack([np.zeros(6, int), np.arange(6)], axis=1), targets, np.zeros((6, 3), np.float32))
        palette = learn_palette(cache, np.arange(6), 0)
        samples = Samples(pool, np.arange(6), 64, Augmentation(things=1.0), palette, (5, 1))
        found = samples[2]
        assert found.target == UNKNOWN
        assert (found.labels[..., 0] == CHAIR).mean() > 0.7
        assert samples[3].target == targets[3], "there is no such part of it"

    def test_grey_pictures_get_colour(self):
        cache, _ = synthetic_cache(6)
        palette = learn_palette(cache, np.arange(6), 0)
        grey = augment.to_grey(cache.pictures[1])
        assert is_grey(grey)
        coloured = augment.colourise(grey, cache.labels[1], cache.scores[1], palette, np.random.default_rng(0))
        assert not is_grey(coloured)
        assert augment.to_grey(coloured).mean() == pytest.approx(grey.mean(), abs=40)  # strong colours clip

    def test_boxes_lie_inside(self):
        rng = np.random.default_rng(0)
        for _ in range(200):
            left, top, right, bottom = augment.random_box(256, Augmentation(), rng)
            assert 0 <= left < right <= 256
            assert 0 <= top < bottom <= 256
            assert (right - left) * (bottom - top) >= 0.3 * 256 * 256

    def test_things_box_is_filled_by_things(self):
        classes = np.full((SIDE, SIDE), 4, np.uint8)
        assert augment.things_box(288, classes, np.random.default_rng(0)) is None
        classes[:, SIDE // 2 :] = CHAIR
        for seed in range(30):
            left, top, right, bottom = augment.things_box(288, classes, np.random.default_rng(seed))
            assert 0 <= left < right <= 288
            assert 0 <= top < bottom <= 288
            assert 0.15 * 288 < right - left == bottom - top < 0.37 * 288
            chairs = max(0, right - max(left, 144)) * (bottom - top)
            assert chairs >= 0.7 * (right - left) * (bottom - top)

    def test_strength_of_degrading(self):
        rgb = np.full((64, 64, 3), 128, np.uint8)
        spread = [
            max(augment.degrade(rgb, np.random.default_rng(seed), strength).std() for seed in range(60))
            for strength in (1.0, 2.0)
        ]
        assert spread[1] > 1.5 * spread[0]


class TestViews:
    def test_a_part_of_a_picture_mirrored(self, tmp_path: Path):
        rgb = np.random.default_rng(0).integers(0, 256, (40, 80, 3), np.uint8)
        file = tmp_path / "a.png"
        cv2.imwrite(str(file), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        np.testing.assert_array_equal(View(file).read(), rgb)
        np.testing.assert_array_equal(View(file, (0.25, 0.5, 0.75, 1.0)).read(), rgb[20:, 20:60])
        np.testing.assert_array_equal(View(file, (0.25, 0.5, 0.75, 1.0), mirrored=True).read(), rgb[20:, 59:19:-1])

    def test_a_file_that_is_no_picture_is_named(self, tmp_path: Path):
        file = tmp_path / "a.jpg"
        file.write_text("no picture")
        with pytest.raises(ManifestError, match=r"a\.jpg is not a picture"):
            View(file).read()

    def test_first_mirrors_the_whole_and_others_show_parts(self, tmp_path: Path):
        manifest = PictureManifest(tmp_path, tmp_path, tuple(Entry(i, f"{i}.jpg", "street") for i in range(40)))
        rows = np.arange(3, 40)
        assert corpus_module._views(manifest, rows, 0, 1) == [
            View(tmp_path / f"{row}.jpg", mirrored=True) for row in rows
        ]
        parts = corpus_module._views(manifest, rows, 1, 1)
        assert parts == corpus_module._views(manifest, rows, 1, 1)
        assert parts != corpus_module._views(manifest, rows, 2, 1)
        assert {view.mirrored for view in parts} == {False, True}
        areas = [(right - left) * (bottom - top) for left, top, right, bottom in (view.box for view in parts)]
        assert min(areas) > 0.48
        assert max(areas) <= 1


class TestTeacherMaps:
    def test_three_best_classes_in_order(self):
        probabilities = np.zeros((2, 2, 5), np.float32)
        probabilities[..., [4, 0, 2]] = (0.5, 0.3, 0.2)
        labels, scores = top_classes(probabilities)
        assert (labels == (4, 0, 2)).all()
        assert scores[0, 0].tolist() == [128, 76, 51]

    def test_crop_and_mirror_follow_the_picture(self):
        values = np.arange(SIDE * SIDE).reshape(SIDE, SIDE, 1)
        assert (cut_map(values, (0, 0, PICTURE_SIDE, PICTURE_SIDE), SIDE, False) == values).all()
        assert (cut_map(values, (0, 0, PICTURE_SIDE, PICTURE_SIDE), SIDE, True) == values[:, ::-1]).all()
        half, quarter = PICTURE_SIDE // 2, PICTURE_SIDE // 4
        part = cut_map(values, (half, quarter, 2 * half, 3 * quarter), 16, False)
        assert part.shape == (16, 16, 1)
        assert part[0, 0, 0] == 19 * SIDE + 37  # the middle of the first of 16 steps over 36 positions
        assert part.max() < 54 * SIDE

    def test_shrunk_maps_are_means_of_what_they_cover(self):
        maps = np.random.default_rng(0).random((128, 128, CLASSES)).astype(np.float32)
        small = teacher_module._shrink(maps)
        assert small.shape == (SIDE, SIDE, CLASSES)
        # A position covers 16/9 of an old one: the first is whole, of the second row and column 7/9.
        shares = np.array([1, 7 / 9]) * 9 / 16
        np.testing.assert_allclose(small[0, 0], np.einsum("i,j,ijc->c", shares, shares, maps[:2, :2]), rtol=1e-5)
        np.testing.assert_allclose(small.mean((0, 1)), maps.mean((0, 1)), rtol=1e-5)

    def test_loss_is_least_at_the_teacher(self):
        labels = torch.tensor([2, 0, 3], dtype=torch.uint8).expand(1, 3, 3, 3)
        scores = torch.tensor([200, 40, 15], dtype=torch.uint8).expand(1, 3, 3, 3)
        best = torch.tensor([40 / 255, 1e-6, 200 / 255, 15 / 255]).log().view(1, 4, 1, 1).expand(1, 4, 3, 3)
        at_best = segmentation_loss(best, labels, scores)
        assert at_best < segmentation_loss(torch.zeros(1, 4, 3, 3), labels, scores)
        assert at_best == pytest.approx(-sum(p * np.log(p) for p in (200 / 255, 40 / 255, 15 / 255)), abs=1e-4)


def output_of(scene: torch.Tensor, unknown: torch.Tensor) -> TrainingOutput:
    nothing = torch.zeros(())
    return TrainingOutput(scene, scene, scene, nothing, nothing, unknown)


class TestSceneLoss:
    weights = Loss(rgb=0, semantic=0, label_smoothing=0, unknown=0, uniform=0)
    unasked = torch.zeros(2, 3)

    def test_is_the_cross_entropy_of_known_scenes(self):
        scene = torch.randn(2, 3)
        target = torch.tensor([1, NO_SCENE])
        wanted = torch.nn.functional.cross_entropy(scene[:1], target[:1])
        assert scene_loss(output_of(scene, torch.zeros(2)), target, self.unasked, self.weights) == pytest.approx(
            float(wanted)
        )

    def test_another_network_s_word_counts_by_its_share(self):
        scene, other = torch.randn(1, 3), torch.tensor([[0.2, 0.5, 0.3]])
        weights = self.weights.model_copy(update={"distillation": 0.25})
        aims = 0.75 * torch.tensor([1.0, 0, 0]) + 0.25 * other[0]
        wanted = -(aims * scene[0].log_softmax(0)).sum()
        loss = scene_loss(output_of(scene, torch.zeros(1)), torch.tensor([0]), other, weights)
        assert float(loss) == pytest.approx(float(wanted), rel=1e-5)

    def test_strange_pictures_ask_for_equal_probabilities(self):
        weights = self.weights.model_copy(update={"uniform": 1.0})
        target = torch.tensor([UNKNOWN])
        even = scene_loss(output_of(torch.zeros(1, 3), torch.zeros(1)), target, self.unasked[:1], weights)
        sure = scene_loss(output_of(torch.tensor([[9.0, 0, 0]]), torch.zeros(1)), target, self.unasked[:1], weights)
        assert float(even) == pytest.approx(np.log(3), rel=1e-5)
        assert even < sure

    def test_unknown_is_taught_by_scenes_and_strange_pictures_alone(self):
        weights = self.weights.model_copy(update={"unknown": 1.0})
        unknown = torch.tensor([5.0, -5.0], requires_grad=True)
        loss = scene_loss(
            output_of(torch.zeros(2, 3), unknown), torch.tensor([UNKNOWN, NO_SCENE]), self.unasked, weights
        )
        loss.backward()
        assert unknown.grad is not None
        assert unknown.grad[0] != 0
        assert unknown.grad[1] == 0


class TestCalibration:
    def test_temperature_of_overconfident_logits(self):
        rng = np.random.default_rng(0)
        logits = rng.normal(0, 2, (4000, 5)).astype(np.float32)
        powers = np.exp(logits)
        targets = np.array([rng.choice(5, p=p) for p in powers / powers.sum(1, keepdims=True)])
        assert find_temperature(3 * logits, targets) == pytest.approx(3, rel=0.1)

    def test_threshold_keeps_the_share_known(self):
        probabilities = np.random.default_rng(0).dirichlet([1.0] * 4, 1000)
        threshold = find_threshold(probabilities.max(axis=1), 0.95)
        assert (probabilities.max(axis=1) >= threshold).mean() >= 0.95

    def test_unknown_is_told_by_what_tells_it(self):
        rng = np.random.default_rng(0)
        known = rng.normal(-2, 1, 500).astype(np.float32), rng.random(500)
        strange = rng.normal(2, 1, 80).astype(np.float32), rng.random(80)
        found = find_unknown(known, strange, ["a"] * 60 + ["b"] * 20)
        assert found.logit > 1
        odds = [found.logit * u + found.entropy * e + found.bias for u, e in (known, strange)]
        assert (odds[0] < 0).mean() > 0.95
        assert (odds[1] > 0).mean() > 0.9


def test_things_of_some_pictures():
    cache, _ = synthetic_cache(6)
    cache.labels[4, 30:60, 20:50, 0] = CHAIR
    found = corpus_module.things_of(cache, np.array([1, 4, 5]), seed=3)
    assert found.pictures.shape == (1, PICTURE_SIDE, PICTURE_SIDE, 3)
    assert found.labels.shape == found.scores.shape == (1, SIDE, SIDE, TOP)
    assert (found.labels[..., 0] == CHAIR).mean() > 0.7
    assert len(corpus_module.things_of(cache, np.array([0, 1]), seed=3).grey) == 0


class TestUnknownLayer:
    def test_regression_tells_what_can_be_told(self):
        rng = np.random.default_rng(0)
        strange = np.arange(400) % 4 == 0
        features = rng.normal(0, 1, (400, 6)).astype(np.float32)
        features[:, 2] += 3 * strange
        weights, bias = fit_logistic(torch.from_numpy(features), strange)
        logits = features @ weights.numpy() + bias
        assert logits[strange].mean() > 0 > logits[~strange].mean()
        assert abs(float(weights[2])) == weights.abs().max()

    def test_what_hardly_varies_weighs_little(self):
        rng = np.random.default_rng(0)
        strange = np.arange(400) % 2 == 0
        features = rng.normal(0, 1, (400, 3)).astype(np.float32)
        features[:, 0] += strange
        features[:, 1] = 1e-4 * features[:, 0]
        weights, _ = fit_logistic(torch.from_numpy(features), strange)
        assert abs(float(weights[1])) < 1e-3 * abs(float(weights[0]))

    def test_replaces_that_layer_alone(self):
        recipe = small_recipe(unknown_samples=64)
        network = build_scene_network(recipe.network()).eval()
        before = copy.deepcopy(network.state_dict())
        sample = corpus()
        fit_unknown_layer(network, sample, learn_palette(sample.scenes, sample.train, 0), recipe)
        changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
        assert changed == {"classifier.fc_unknown.weight", "classifier.fc_unknown.bias"}
        close_ups = np.stack([augment.crop(p, (9, 9, 35, 35), 64) for p in sample.scenes.pictures[:9]])
        wholes = np.stack([scoring.whole_picture(p, 64) for p in sample.scenes.pictures[:9]])
        with torch.no_grad():
            strange, known = (
                network.forward_training(scoring.normalise(torch.from_numpy(p), recipe.mean, recipe.std)).unknown
                for p in (close_ups, wholes)
            )
        assert strange.mean() > known.mean()


def test_frozen_module_says_what_torch_says():
    network = build_scene_network(small_recipe().network()).eval()
    pictures = torch.randn(3, 3, 64, 64)
    frozen = FrozenModule(network.segmenter.encoder, pictures[:1])
    with torch.no_grad():
        wanted = network.segmenter.encoder(pictures)
    for ours, theirs in zip(frozen(pictures), wanted, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)


class TestRun:
    def test_learns_and_writes_its_checkpoints(self, tmp_path: Path):
        said: list[str] = []
        stage = {"name": "heads", "trains": "heads", "epochs": 3, "epoch_samples": 32, "lr": 1e-2, "encoder_lr": 2e-3}
        run = trainer(small_recipe(stages=[stage], ema=0.5), tmp_path / "run", said)
        run.run(resume=False)
        history = run.progress.history
        assert history[-1]["loss"] < history[0]["loss"]
        lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]
        assert loop.load_checkpoint(tmp_path / "run" / "best.pt") is not None

    def test_resumed_run_equals_an_unbroken_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        tail = {"name": "upper", "trains": "upper", "epochs": 2, "epoch_samples": 16, "lr": 1e-3, "encoder_lr": 1e-4}
        recipe = small_recipe(stages=[*small_recipe().model_dump()["stages"], tail])
        whole = trainer(recipe, tmp_path / "whole", [])
        whole.run(resume=False)

        broken = trainer(recipe, tmp_path / "broken", [])
        step = loop.Trainer._keep

        def stop_after_third(self: loop.Trainer, result: dict[str, float]) -> None:
            step(self, result)
            if len(self.progress.history) == 3:
                raise KeyboardInterrupt

        monkeypatch.setattr(loop.Trainer, "_keep", stop_after_third)
        with pytest.raises(KeyboardInterrupt):
            broken.run(resume=False)
        monkeypatch.setattr(loop.Trainer, "_keep", step)
        again = trainer(recipe, tmp_path / "broken", [])
        again.run(resume=True)

        assert len(again.progress.history) == 4
        for name, tensor in whole.average.state_dict().items():
            assert torch.allclose(tensor.float(), again.average.state_dict()[name].float(), atol=1e-5), name

    def test_stage_starts_from_the_mean_of_others(self, tmp_path: Path):
        first = small_recipe().model_dump()["stages"][0]
        last = {
            "name": "last",
            "trains": "heads",
            "epochs": 1,
            "epoch_samples": 8,
            "lr": 1e-30,
            "start": ["heads", "more"],
        }
        run = trainer(small_recipe(stages=[first, first | {"name": "more"}, last]), tmp_path / "run", [])
        run.run(resume=False)
        one, other = (loop.load_checkpoint(tmp_path / "run" / f"stage-{name}.pt") for name in ("heads", "more"))
        mean = loop.mean_weights([tmp_path / "run" / "stage-heads.pt", tmp_path / "run" / "stage-more.pt"])
        found = run.average.state_dict()
        for name, parameter in run.average.named_parameters():
            expected = (one["network"][name] + other["network"][name]) / 2
            assert torch.allclose(mean[name], expected), name
            assert torch.allclose(found[name], expected, atol=1e-5), parameter

    def test_own_word_is_what_the_network_said_before(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        first = small_recipe().model_dump()["stages"][0]
        last = {"name": "last", "trains": "heads", "epochs": 1, "epoch_samples": 8, "lr": 1e-3, "own_word": ["heads"]}
        seen: list[np.ndarray] = []
        loader = loop.Trainer._loader

        def watched(self: loop.Trainer, stage: Any, pool: Pool, seed: tuple[int, ...]) -> Any:
            seen.append(pool.wanted)
            return loader(self, stage, pool, seed)

        monkeypatch.setattr(loop.Trainer, "_loader", watched)
        recipe = small_recipe(stages=[first, last])
        run = trainer(recipe, tmp_path / "run", [])
        run.run(resume=False)
        assert [wanted.any() for wanted in seen] == [False, False, True]
        network = build_scene_network(recipe.network())
        network.load_state_dict(loop.mean_weights([tmp_path / "run" / "stage-heads.pt"]))
        said = scoring.score(network.eval(), run.corpus.scenes, run.corpus.train, recipe).scene
        np.testing.assert_allclose(seen[-1], metrics.softmax(said), atol=1e-5)

    def test_stage_may_weigh_its_losses_otherwise(self, tmp_path: Path):
        stage = {"name": "heads", "trains": "heads", "epochs": 1, "epoch_samples": 8, "lr": 1e-30}
        losses = []
        for change in ({}, {"loss": {"segmentation": 0.0}}):
            run = trainer(small_recipe(stages=[stage | change]), tmp_path / str(len(losses)), [])
            run.run(resume=False)
            losses.append(run.progress.history[0]["loss"])
        assert losses[0] - losses[1] > 1, "new weights know nothing of 32 classes: about 3.5 nats"

    def test_own_word_and_the_second_opinion_count_alike(self):
        network = build_scene_network(small_recipe().network()).eval()
        pool = corpus().pool
        alone = scoring.own_word(network, pool, small_recipe()).wanted
        wanted = np.zeros_like(pool.wanted)
        wanted[:5, 0] = 1
        together = scoring.own_word(network, dataclasses.replace(pool, wanted=wanted), small_recipe()).wanted
        np.testing.assert_allclose(together[:5], (alone[:5] + wanted[:5]) / 2, atol=1e-6)
        np.testing.assert_allclose(together[5:], alone[5:], atol=1e-6)

    def test_stage_trains_only_what_it_says(self):
        network = build_scene_network(small_recipe().network())
        for stage in small_recipe(
            stages=[{"name": n, "trains": n, "epochs": 1, "lr": 1e-3} for n in ("decoder", "heads", "upper", "middle")]
        ).stages:
            loop.stages.set_trainable(network, stage)
            trained = {
                part: any(p.requires_grad for p in getattr(network.segmenter.encoder, part).parameters())
                for part in ("lower", "middle", "upper")
            }
            assert trained == {
                "lower": False,
                "middle": stage.trains == "middle",
                "upper": stage.trains in ("upper", "middle"),
            }
            assert network.segmenter.head.weight.requires_grad
            assert network.classifier.fc.weight.requires_grad == (stage.trains != "decoder")
            loop.stages.set_training_mode(network, stage)
            assert network.segmenter.refine16.training
            assert network.classifier.training == (stage.trains != "decoder")

    def test_rate_rises_and_falls(self):
        stage = small_recipe().stages[0]
        rates = [learning_rate(step, 100, stage) for step in range(100)]
        assert rates[0] < rates[4] == 1.0
        assert rates[4:] == sorted(rates[4:], reverse=True)
        assert rates[-1] == pytest.approx(stage.final, abs=0.01)


class TestRecipe:
    def test_packaged_recipe_is_sound(self):
        recipe = read_recipe(find_recipe("scene18"))
        assert len(recipe.labels) == 18
        assert list(recipe.labels) == sorted(recipe.labels)
        assert set(recipe.groups["indoor"]) | set(recipe.groups["outdoor"]) == set(recipe.labels)
        build_scene_network(recipe.network())

    def test_misspelt_key_is_named(self, tmp_path: Path):
        text = find_recipe("scene18").read_text().replace("trains: heads", "trians: heads")
        (tmp_path / "r.yaml").write_text(text)
        with pytest.raises(ConfigError, match="trians"):
            read_recipe(tmp_path / "r.yaml")

    def test_stages_that_do_not_exist_are_named(self):
        stage = small_recipe().model_dump()["stages"][0]
        with pytest.raises(ValidationError, match="soup: no stage heavy here; there is heads"):
            small_recipe(soup=("heavy",))
        with pytest.raises(ValidationError, match="start: no stage heads here; there is none"):
            small_recipe(stages=[stage | {"start": ("heads",)}])
        with pytest.raises(ValidationError, match="own_word: no stage late here; there is none"):
            small_recipe(stages=[stage | {"own_word": ("late",)}])

    def test_missing_recipe_is_named(self, tmp_path: Path):
        with pytest.raises(ConfigError, match=r"no recipe at .*none\.yaml"):
            read_recipe(tmp_path / "none.yaml")
