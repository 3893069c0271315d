"""Two-stage training, part by part: recipes, pictures, samples, slices, networks, optimisers, checkpoints."""

from __future__ import annotations

import json
from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from paper_data import write_dataset, write_semantics
from torch import nn
from torchvision.models import resnet18

from config.errors import ConfigError, UserError
from models.crops import Box, CropPreprocess
from models.errors import ModelError
from models.layers.semantic_stem import Top3
from models.scene_classifier import load_scene_network
from tools.data.manifest import ManifestError
from tools.train.dfw import DFW
from tools.train.two_stage.cache import Pictures, View
from tools.train.two_stage.checkpoints import Progress, Run, read_last, write_checkpoint
from tools.train.two_stage.corpus import load_corpus
from tools.train.two_stage.data import (
    TrainingSamples,
    WatchedSamples,
    change_colours,
    cut,
    drop_labels,
    epoch_rows,
    random_box,
)
from tools.train.two_stage.distributed import Processes, own_device
from tools.train.two_stage.optimisers import build_optimiser, rate_share, set_rate
from tools.train.two_stage.recipe import (
    METHOD,
    Augmentation,
    Data,
    OptimiserSettings,
    Recipe,
    read_recipe,
    recipe_method,
)
from tools.train.two_stage.stages import build_network, normalise, set_trainable, set_training_mode, start_stage

DATA_SETS = ("ade20k", "mit67", "sun397", "places365")
PACKAGED = (*DATA_SETS, *(f"{name}_public" for name in DATA_SETS), "two_branch_scenes")
AS_IT_IS = Augmentation(mirror=0.5, blur=0, contrast=(1, 1), noise=0, brightness=(1, 1), drop=(0, 0))
SCENES = ("beach", "kitchen", "street")


def tiny_recipe(**changes: object) -> Recipe:
    stage = {"epochs": 1, "batch": 4}
    stages = {"rgb": stage, "semantic": stage, "both": stage}
    values = {"method": METHOD, "name": "tiny", "data": {"layout": "ade20k"}, "stages": stages}
    return Recipe(**(values | changes))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    data = write_dataset("ade20k", tmp_path_factory.mktemp("ade20k"))
    write_semantics(data)
    return data


class TestRecipes:
    @pytest.mark.parametrize("name", PACKAGED)
    def test_packaged_recipes_are_sound(self, name: str):
        assert recipe_method(name) == METHOD
        assert read_recipe(name).name == name

    @pytest.mark.parametrize("name", DATA_SETS)
    def test_confirmed_and_public_settings(self, name: str):
        for recipe, rate, decay in ((name, 0.1, 1e-4), (f"{name}_public", 2.5e-4, 5e-4)):
            found = read_recipe(recipe)
            assert found.data.layout == name
            for stage in (found.stages.rgb, found.stages.semantic, found.stages.both):
                assert stage.batch == 100
                optimiser = stage.optimiser
                assert (optimiser.kind, optimiser.lr, optimiser.momentum) == ("dfw", rate, 0.9)
                assert optimiser.weight_decay == decay

    def test_scene18_has_no_method(self):
        assert recipe_method("scene18") is None

    def test_overrides_win(self):
        recipe = read_recipe("mit67", ["stages.rgb.epochs=3", "seed=7", "defaults.batch=20", "backbone=resnet50"])
        assert (recipe.stages.rgb.epochs, recipe.stages.rgb.batch, recipe.seed) == (3, 20, 7)
        assert recipe.backbone == "resnet50"

    def test_another_optimiser_takes_no_rates_along(self):
        recipe = read_recipe("mit67", ["defaults.optimiser={kind: sgd, lr: 0.01}"])
        assert recipe.stages.both.optimiser == OptimiserSettings(kind="sgd", lr=0.01)

    def test_extends_a_file_beside_it(self, tmp_path: Path):
        (tmp_path / "base.yaml").write_text("extends: mit67\nseed: 5\n")
        (tmp_path / "mine.yaml").write_text("extends: base.yaml\nname: mine\nstages: {rgb: {epochs: 2}}\n")
        recipe = read_recipe(str(tmp_path / "mine.yaml"))
        assert (recipe.name, recipe.seed, recipe.stages.rgb.epochs, recipe.data.layout) == ("mine", 5, 2, "mit67")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("stages: {rgb: {epoch: 2}}", "stages.rgb.epochs"),
            ("defaults: {optimiser: {kind: adam}}", "adamw"),
            ("data: {layout: null}", "layout .*or manifest"),
            ("data: {watch: train}", "'dev' takes a part"),
            ("stages: 3", "groups of keys"),
            ("extends: nowhere", "neither a packaged recipe"),
            ("extends: mine.yaml", "extends this one"),
            ("- a", "mapping"),
        ],
    )
    def test_faults_are_named(self, tmp_path: Path, text: str, message: str):
        lines = text if text.startswith(("extends", "-")) else f"extends: mit67\n{text}"
        (tmp_path / "mine.yaml").write_text(lines)
        with pytest.raises(ConfigError, match=message):
            read_recipe(str(tmp_path / "mine.yaml"))

    def test_missing_recipe_names_the_packaged_ones(self):
        with pytest.raises(ConfigError, match=r"no recipe at none.*mit67.*places365"):
            read_recipe("none")

    def test_override_without_value(self):
        with pytest.raises(ConfigError, match="KEY=VALUE"):
            read_recipe("mit67", ["seed"])


class TestCorpus:
    @staticmethod
    def table(folder: Path, rows: list[str]) -> Data:
        (folder / "t.csv").write_text("path,scene,split,group\n" + "".join(f"{row}\n" for row in rows))
        return Data(manifest="t.csv")

    def test_dev_is_carved_out_by_group(self, tmp_path: Path):
        rows = [f"{scene}{i}.jpg,{scene},train,house{i // 2}" for scene in "ab" for i in range(40)]
        data = self.table(tmp_path, rows).model_copy(update={"watch": "dev", "dev_share": 0.2})
        corpus = load_corpus(data, tmp_path)
        groups = [{e.group for e in split.manifest.entries} for split in (corpus.train, corpus.watch)]
        assert not groups[0] & groups[1]
        assert len(corpus.watch) == 16
        assert len(corpus.train) == 64

    def test_limit_takes_the_same_ones_of_every_scene(self, tmp_path: Path):
        names = [(scene, i) for scene, count in (("a", 9), ("b", 2)) for i in range(count)]
        rows = [f"{scene}{i}.jpg,{scene},{split}," for scene, i in names for split in ("train", "val")]
        data = self.table(tmp_path, rows).model_copy(update={"per_scene_limit": 4, "watch_per_scene_limit": 1})
        corpus = load_corpus(data, tmp_path)
        assert Counter(corpus.train.targets.tolist()) == {0: 4, 1: 2}
        assert Counter(corpus.watch.targets.tolist()) == {0: 1, 1: 1}
        again = load_corpus(self.table(tmp_path, rows[::-1]).model_copy(update={"per_scene_limit": 4}), tmp_path)
        assert {e.path for e in again.train.manifest.entries} == {e.path for e in corpus.train.manifest.entries}
        assert corpus.labels == ("a", "b")

    def test_layout_brings_labels_and_size(self, tmp_path: Path):
        write_dataset("places365", tmp_path)
        corpus = load_corpus(Data(layout="places365"), tmp_path)
        assert corpus.labels == ("airfield", "field/cultivated", "kitchen")
        assert corpus.crop.short_side is None
        assert corpus.semantics.folder == tmp_path

    def test_equal_lists_are_told(self, tmp_path: Path):
        data = write_dataset("mit67", tmp_path)
        (tmp_path / "val.txt").write_text((tmp_path / "train.txt").read_text())
        assert "no accuracy" in load_corpus(Data(layout=data.name), tmp_path).notes[0]

    def test_wrong_root_says_what_is_expected(self, tmp_path: Path):
        with pytest.raises(ManifestError, match="sceneCategories_training"):
            load_corpus(Data(layout="ade20k"), tmp_path)


class TestCache:
    def pictures(self, dataset, folder: Path | None) -> Pictures:
        corpus = load_corpus(Data(layout="ade20k"), dataset.root)
        return Pictures(corpus.train.manifest, corpus.crop, corpus.semantics, folder=folder)

    def test_holds_what_evaluation_resizes(self, dataset, tmp_path: Path):
        kept, fresh = self.pictures(dataset, tmp_path), self.pictures(dataset, None)
        crop = CropPreprocess()
        for row in range(len(kept)):
            manifest = kept.manifest
            wanted = crop.resized(manifest[row])
            maps = crop.resized_map(kept.semantics.read(manifest.entries[row], manifest[row].shape[:2]))
            for pictures in (kept, kept, fresh):
                picture, found = pictures[row]
                assert np.array_equal(picture, wanted)
                assert np.array_equal(found.transpose(2, 0, 1), np.concatenate(maps))

    def test_decodes_once(self, dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        kept = self.pictures(dataset, tmp_path)
        first = kept[0]
        monkeypatch.setattr(Pictures, "_picture", None)
        monkeypatch.setattr(Pictures, "_maps", None)
        assert np.array_equal(kept[0].picture, first.picture)
        assert np.array_equal(kept[0].maps, first.maps)

    def test_damaged_file_is_made_anew(self, dataset, tmp_path: Path):
        kept = self.pictures(dataset, tmp_path)
        wanted = np.array(kept[0].picture)
        for file in tmp_path.rglob("*.npy"):
            file.write_bytes(file.read_bytes()[:200])
        assert np.array_equal(kept[0].picture, wanted)
        assert not list(tmp_path.rglob("*.part"))

    def test_changed_picture_is_read_again(self, tmp_path: Path):
        data = write_dataset("ade20k", tmp_path / "data")
        corpus = load_corpus(Data(layout="ade20k"), data.root)
        kept = Pictures(corpus.train.manifest, corpus.crop, folder=tmp_path / "cache")
        before = np.array(kept[0].picture)
        kept.manifest.path(0).write_bytes(kept.manifest.path(5).read_bytes())
        assert not np.array_equal(kept[0].picture, before)


class TestSamples:
    def test_sample_depends_on_its_place_alone(self, dataset):
        pictures = TestCache().pictures(dataset, None)
        targets = np.arange(len(pictures))
        samples = TrainingSamples(pictures, targets, np.array([3, 1, 2]), Augmentation(), (1, 0, 4))
        others = TrainingSamples(pictures, targets, np.array([3, 0, 0]), Augmentation(), (1, 0, 4))
        for one, other in zip((samples[2], samples[0]), (samples[2], others[0]), strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
        next_epoch = TrainingSamples(pictures, targets, np.array([3, 1, 2]), Augmentation(), (1, 0, 5))
        assert not np.array_equal(samples[0].picture, next_epoch[0].picture)

    @settings(deadline=None, max_examples=20)
    @given(st.integers(224, 300), st.integers(224, 300), st.integers(0, 2**31))
    def test_semantics_are_cut_like_the_picture(self, height: int, width: int, seed: int):
        rows, columns = np.mgrid[:height, :width]
        picture = np.stack([rows % 256, columns % 256, rows // 256], 2).astype(np.uint8)
        rng = np.random.default_rng(seed)
        box = random_box((height, width), 224, AS_IT_IS, rng)
        view = cut(View(picture, np.concatenate([picture, picture], 2)), box, 224)
        assert view.picture.shape == (224, 224, 3)
        assert np.array_equal(view.maps[..., :3], view.picture)
        step = int(view.picture[0, 1, 1]) - int(view.picture[0, 0, 1])
        assert step % 256 == (255 if box.mirrored else 1)

    def test_places_and_mirror_images_are_even(self):
        rng = np.random.default_rng(0)
        boxes = [random_box((256, 240), 224, AS_IT_IS, rng) for _ in range(2000)]
        assert {b.top for b in boxes} == set(range(33))
        assert {b.left for b in boxes} == set(range(17))
        assert 900 < sum(b.mirrored for b in boxes) < 1100

    def test_share_of_dropped_labels(self):
        shares = []
        for seed in range(40):
            maps = np.full((224, 224, 6), 9, np.uint8)
            found = drop_labels(maps, Augmentation(), np.random.default_rng(seed))
            gone = found[..., 0] == 0
            assert np.array_equal(gone, (found[..., :3] == 0).all(2))
            assert (found[..., 3:] == 9).all()
            shares.append(gone.mean())
        assert 0.045 < min(shares) < 0.08
        assert 0.17 < max(shares) < 0.205

    def test_colours_change_within_their_ranges(self):
        grey = np.full((224, 224, 3), 160, np.uint8)
        means, deviations = [], []
        for seed in range(60):
            found = change_colours(grey, Augmentation(), np.random.default_rng(seed)).astype(float)
            means.append(found.mean())
            deviations.append(found.std())
        assert (0.75 * 32 + 128) * 0.8 - 2 < min(means) < max(means) < (1.5 * 32 + 128) * 1.2 + 2
        assert max(means) - min(means) > 50
        assert 8 < max(deviations) < 0.05 * 255 * 1.2 + 1
        assert np.array_equal(change_colours(grey, AS_IT_IS, np.random.default_rng(0)), grey)

    def test_watched_crops_are_those_of_evaluation(self, dataset):
        pictures = TestCache().pictures(dataset, None)
        sample = WatchedSamples(pictures, np.arange(len(pictures)), np.array([2]))[0]
        crop = CropPreprocess()
        picture = crop.resized(pictures.manifest[2])
        box = crop.boxes(picture)[0]
        stats = (torch.tensor(x).view(1, 3, 1, 1) for x in (crop.mean, crop.std))
        ours = normalise(torch.from_numpy(sample.picture)[None], *stats)[0].numpy()
        assert np.abs(ours - crop.tensor(picture, box)).max() < 1e-6
        maps = crop.resized_map(pictures.semantics.read(pictures.manifest.entries[2]))
        wanted = crop.map(maps, Box(*box))
        assert np.array_equal(sample.labels, wanted.labels)
        assert np.array_equal(sample.scores, wanted.scores)
        assert sample.target == 2

    def test_unneeded_parts_are_empty(self, dataset):
        whole = TestCache().pictures(dataset, None)
        targets, rows = np.arange(len(whole)), np.arange(len(whole))
        rgb = Pictures(whole.manifest, whole.crop)
        semantic = Pictures(whole.manifest, whole.crop, whole.semantics, needs_picture=False)
        assert TrainingSamples(rgb, targets, rows, Augmentation(), (1,))[0].labels.size == 0
        assert TrainingSamples(semantic, targets, rows, Augmentation(), (1,))[0].picture.size == 0


class TestOrder:
    @given(st.integers(1, 30), st.integers(1, 70), st.integers(1, 6))
    def test_all_pictures_come_equally_often(self, count: int, samples: int, epochs: int):
        rows = np.concatenate([epoch_rows(count, epoch, samples, (3, 1)) for epoch in range(epochs)])
        assert len(rows) == samples * epochs
        seen = np.bincount(rows, minlength=count)
        assert seen.max() - seen.min() <= 1

    def test_an_epoch_is_all_pictures_in_a_new_order(self):
        first, second = (epoch_rows(50, epoch, None, (3, 1)) for epoch in (0, 1))
        assert sorted(first) == sorted(second) == list(range(50))
        assert not np.array_equal(first, second)

    @given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 60))
    def test_processes_share_every_batch(self, count: int, share: int, places: int):
        batch = share * count
        if places < count:
            with pytest.raises(UserError, match="cannot be divided"):
                Processes(0, count).slice_of_batches(places, batch)
            return
        whole = Processes().slice_of_batches(places - places % count, batch)
        slices = [Processes(rank, count).slice_of_batches(places - places % count, batch) for rank in range(count)]
        assert [list(chain(*parts)) for parts in zip(*slices, strict=True)] == whole

    def test_uneven_batch_is_refused(self):
        with pytest.raises(UserError, match="100 cannot be divided among 3"):
            Processes(0, 3).slice_of_batches(1000, 100)


class TestStages:
    def checkpoint(self, path: Path, stage: str, recipe: Recipe, labels: tuple[str, ...] = SCENES) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        network = build_network(recipe.model_copy(update={"seed": 9}), stage, len(labels))
        write_checkpoint(path, Run(recipe, stage, labels, "here"), network, Progress(1, 50.0, 1))
        return path

    def test_both_starts_from_its_branches_and_keeps_them(self, tmp_path: Path):
        recipe = tiny_recipe()
        files = {b: self.checkpoint(tmp_path / b / "best.pth.tar", b, recipe) for b in ("rgb", "semantic")}
        network = start_stage(recipe, "both", SCENES, tmp_path).network
        rgb, semantic = (load_scene_network(file).module for file in files.values())
        picture = torch.randn(2, 3, 224, 224)
        maps = Top3(torch.randint(0, 150, (2, 3, 224, 224), dtype=torch.uint8), torch.rand(2, 3, 224, 224))
        network.eval()
        with torch.no_grad():
            output = network(picture, maps)
            assert torch.allclose(output.rgb, rgb(picture).scene, atol=1e-5)
            assert torch.allclose(output.semantic, semantic(None, maps).scene, atol=1e-5)

        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        optimiser = DFW(set_trainable(network, "both"), momentum=0.0)
        set_training_mode(network, "both")
        loss = nn.functional.cross_entropy(network(picture, maps).scene, torch.tensor([0, 1]))
        loss.backward()
        optimiser.step(loss)
        changed = {n for n, t in network.state_dict().items() if not torch.equal(t, before[n])}
        attention = {n for n in before if n.startswith(("lastConv", "fc."))}
        assert changed == attention

    @pytest.mark.parametrize(
        ("branch", "stage", "changes", "labels", "message"),
        [
            ("rgb", "semantic", {}, SCENES, "the semantic branch alone.*but the RGB branch alone was asked"),
            ("semantic", "both", {}, SCENES, "both branches, but the semantic branch alone"),
            ("rgb", "rgb", {"backbone": "resnet50"}, SCENES, "not the branch 'rgb' of resnet18"),
            ("rgb", "rgb", {}, ("a", "b"), r"for 3 scenes: fc.weight is \(2, 512\), not \(3, 512\)"),
            ("rgb", "rgb", {}, ("beach", "office", "street"), "'office' where this data set has 'kitchen'"),
        ],
    )
    def test_other_networks_are_refused(self, tmp_path: Path, branch, stage, changes, labels, message):
        wrong = self.checkpoint(tmp_path / "wrong.pth.tar", stage, tiny_recipe(**changes), labels)
        recipe = tiny_recipe(start={f"both_{branch}": str(wrong)})
        self.checkpoint(tmp_path / "rgb" / "best.pth.tar", "rgb", recipe)
        with pytest.raises((UserError, ModelError), match=message):
            start_stage(recipe, "both", SCENES, tmp_path)

    def test_missing_branch_says_what_to_train(self, tmp_path: Path):
        with pytest.raises(UserError, match=r"train it first \(--stage rgb"):
            start_stage(tiny_recipe(), "both", SCENES, tmp_path)

    def test_rgb_starts_from_a_resnet_of_other_classes(self, tmp_path: Path):
        resnet = resnet18(weights=None, num_classes=7)
        torch.save(resnet.state_dict(), tmp_path / "resnet.pth")
        start = start_stage(tiny_recipe(start={"rgb": str(tmp_path / "resnet.pth")}), "rgb", SCENES, tmp_path)
        assert torch.equal(start.network.in_block[0].weight, resnet.conv1.weight)
        assert torch.equal(start.network.encoder4[1].bn2.bias, resnet.layer4[1].bn2.bias)
        assert start.network.fc.out_features == 3
        assert start.origin.endswith("resnet.pth but for fc.weight, fc.bias (random)")

    def test_start_of_another_network_is_refused(self, tmp_path: Path):
        torch.save(nn.Conv2d(3, 4, 1).state_dict(), tmp_path / "conv.pth")
        with pytest.raises(UserError, match=r"no start for this branch: it has no in_block.0.weight"):
            start_stage(tiny_recipe(start={"rgb": str(tmp_path / "conv.pth")}), "rgb", SCENES, tmp_path)

    def test_random_weights_follow_the_seed(self):
        states = [
            build_network(tiny_recipe(seed=seed), "semantic", 3).state_dict()["fc_SEM.weight"] for seed in (1, 1, 2)
        ]
        assert torch.equal(states[0], states[1])
        assert not torch.equal(states[0], states[2])


class TestOptimisers:
    def test_schedules(self):
        cosine = OptimiserSettings(schedule="cosine", warmup=0.1, final=0.02)
        rates = [rate_share(cosine, step, 100, 0) for step in range(100)]
        assert rates[:10] == sorted(rates[:10])
        assert max(rates) == 1.0
        assert rates[10:] == sorted(rates[10:], reverse=True)
        assert rates[-1] == pytest.approx(0.02, abs=0.01)
        steps = OptimiserSettings(schedule="step", step_epochs=10, step_factor=0.1)
        assert [rate_share(steps, 0, 1, e) for e in (0, 9, 10, 25)] == pytest.approx([1, 1, 0.1, 0.01])
        assert rate_share(OptimiserSettings(), 7, 10, 3) == 1.0

    @pytest.mark.parametrize("kind", ["dfw", "adamw", "sgd"])
    def test_rate_reaches_the_optimiser(self, kind: str):
        layer = nn.Linear(2, 2)
        optimiser = build_optimiser(layer.parameters(), OptimiserSettings(kind=kind, lr=0.5, weight_decay=0.2))
        set_rate(optimiser, 0.25)
        key = "eta" if kind == "dfw" else "lr"
        assert {group[key] for group in optimiser.param_groups} == {0.25}
        decays = [group["weight_decay"] for group in optimiser.param_groups]
        assert decays == ([0.2, 0.0] if kind == "adamw" else [0.2])


class TestCheckpoints:
    def written(self, path: Path, recipe: Recipe) -> Run:
        run = Run(recipe, "semantic", SCENES, "random weights")
        network = build_network(recipe, "semantic", 3)
        optimiser = build_optimiser(network.parameters(), recipe.stages.semantic.optimiser)
        write_checkpoint(path, run, network, Progress(4, 61.5, 3, False, [{"top1": 61.5}]), optimiser)
        return run

    def test_is_public_in_form(self, tmp_path: Path):
        self.written(tmp_path / "last.pth.tar", tiny_recipe())
        content = torch.load(tmp_path / "last.pth.tar", weights_only=True)
        assert (content["epoch"], content["best_prec1"], tuple(content["labels"])) == (4, 61.5, SCENES)
        assert json.loads(content["recipe"])["stages"]["semantic"]["batch"] == 4
        loaded = load_scene_network(tmp_path / "last.pth.tar", expect="semantic")
        assert loaded.labels == SCENES
        assert not list(tmp_path.glob("*.part"))

    def test_another_recipe_is_refused(self, tmp_path: Path):
        run = self.written(tmp_path / "last.pth.tar", tiny_recipe())
        assert read_last(tmp_path / "last.pth.tar", run)["epoch"] == 4
        other = Run(tiny_recipe(seed=3), "semantic", SCENES, "")
        with pytest.raises(UserError, match="seed was 1, now 3"):
            read_last(tmp_path / "last.pth.tar", other)
        with pytest.raises(UserError, match="3 other scenes"):
            read_last(tmp_path / "last.pth.tar", Run(run.recipe, "semantic", ("a", "b"), ""))

    def test_damaged_one_is_refused(self, tmp_path: Path):
        run = self.written(tmp_path / "last.pth.tar", tiny_recipe())
        (tmp_path / "last.pth.tar").write_bytes((tmp_path / "last.pth.tar").read_bytes()[:5000])
        with pytest.raises(UserError, match="cannot be read"):
            read_last(tmp_path / "last.pth.tar", run)


class TestDevices:
    def test_unknown_ones_are_refused(self):
        assert own_device("cpu").type == "cpu"
        for name, message in (("gpu", "unknown device"), ("meta", "cpu or cuda")):
            with pytest.raises(UserError, match=message):
                own_device(name)
        if not torch.cuda.is_available():
            with pytest.raises(UserError, match="--device cpu"):
                own_device("cuda")
