"""Training on own scenes, part by part: pictures, splits, views, the start, the report, the options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from config.errors import ConfigError
from models.errors import ModelError
from models.package import find_package
from models.scene_network import build_scene_network
from streamer.errors import OutputError
from tools.commands import run_command_line
from tools.data.manifest import Entry, ManifestError
from tools.export import load_weights
from tools.train.own.output import check_output, check_space, publish, working_folder
from tools.train.own.pictures import OwnPictures, few_notes, read_folder, read_table
from tools.train.own.report import Measured, advice, figures_of, report_lines
from tools.train.own.split import split_entries
from tools.train.own.start import ClassifierInputs, find_start, network_parts, start_network
from tools.train.own.views import all_views


def fill(folder: Path, counts: Mapping[str, int], suffix: str = ".jpg") -> Path:
    """Empty files with pictures' names: nothing here opens them."""
    for scene, count in counts.items():
        (folder / scene).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            (folder / scene / f"{i}{suffix}").touch()
    return folder


def write_table(file: Path, lines: list[str]) -> Path:
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


class TestFolder:
    def test_a_folder_is_a_scene(self, tmp_path: Path):
        fill(tmp_path, {"kitchen": 9, "Büro 2": 8, "kitchen/monday": 3}, ".PNG")
        (tmp_path / "kitchen" / "notes.txt").touch()
        (tmp_path / "kitchen" / "IMG_1.HEIC").touch()
        (tmp_path / "kitchen" / "._1.jpg").touch()
        (tmp_path / ".cache").mkdir()
        (tmp_path / "README.md").touch()
        pictures = read_folder(tmp_path)
        assert pictures.scenes == ("Büro 2", "kitchen")
        assert len(pictures.manifest) == 20
        assert not pictures.has_val
        groups = {entry.path: entry.group for entry in pictures.manifest.entries}
        assert groups["kitchen/monday/0.PNG"] == "kitchen/monday"
        assert groups["kitchen/0.PNG"] == ""
        (note,) = pictures.notes
        assert "1 .txt" in note
        assert "HEIC" in note

    def test_pictures_in_no_folder(self, tmp_path: Path):
        fill(tmp_path, {"kitchen": 9, "office": 9})
        (tmp_path / "loose.jpg").touch()
        with pytest.raises(ManifestError, match=r"loose\.jpg.*it needs a folder for each scene.*DIR/kitchen/1\.jpg"):
            read_folder(tmp_path)

    def test_no_folder_and_no_folders(self, tmp_path: Path):
        with pytest.raises(ManifestError, match=r"no folder at .*a folder for each scene"):
            read_folder(tmp_path / "none")
        with pytest.raises(ManifestError, match="has no folders; it needs a folder for each scene"):
            read_folder(tmp_path)

    def test_splits_instead_of_scenes(self, tmp_path: Path):
        fill(tmp_path, {"train/kitchen": 9, "val/kitchen": 9})
        with pytest.raises(ManifestError, match=r"divided into train, val.*--manifest"):
            read_folder(tmp_path)

    def test_one_folder_too_high(self, tmp_path: Path):
        fill(tmp_path, {"mine/kitchen": 9, "mine/office": 9})
        with pytest.raises(ManifestError, match=r"did you mean --pictures .*mine, with kitchen, office"):
            read_folder(tmp_path)

    def test_empty_scene(self, tmp_path: Path):
        fill(tmp_path, {"kitchen": 9, "office": 9, "store": 0})
        with pytest.raises(ManifestError, match=r"store has no pictures.*or remove it"):
            read_folder(tmp_path)


class TestCountsAndNames:
    def test_too_few_pictures(self, tmp_path: Path):
        with pytest.raises(ManifestError, match=r"'hall' has 7 pictures.*8 is the least.*1 more.*'?shop'?.*leave"):
            read_folder(fill(tmp_path, {"kitchen": 9, "hall": 7, "shop": 1}))

    def test_one_scene(self, tmp_path: Path):
        with pytest.raises(ManifestError, match=r"fewer than two scenes \(kitchen\)"):
            read_folder(fill(tmp_path, {"kitchen": 9}))

    @pytest.mark.parametrize(
        ("name", "problem"),
        [("a\tb", "printable"), (" a", "printable"), ("x" * 65, "64"), ("unknown", "`other`"), ("Kitchen", "capitals")],
    )
    def test_names_that_no_scene_can_have(self, tmp_path: Path, name: str, problem: str):
        with pytest.raises(ManifestError, match=problem):
            read_folder(fill(tmp_path, {"kitchen": 8, name: 8}))

    def test_name_that_is_no_text(self, tmp_path: Path):
        with pytest.raises(ManifestError, match=r"cannot be called 'caf\\udce9'"):
            read_folder(fill(tmp_path, {"kitchen": 8, "caf\udce9": 8}))

    def test_warning_names_the_scenes(self):
        (note,) = few_notes({"hall": 29, "kitchen": 30})
        assert "hall 29" in note
        assert "kitchen" not in note
        assert few_notes({"kitchen": 30}) == []


class TestTable:
    head = "path,scene,split,group"

    def lines(self, split: str, count: int = 8, prefix: str = "") -> list[str]:
        return [f"{scene}/{prefix}{i}.jpg,{scene},{split}," for scene in ("hall", "shop") for i in range(count)]

    def test_val_is_kept_for_the_figures(self, tmp_path: Path):
        table = write_table(
            tmp_path / "t.csv", [self.head, *self.lines("train"), *self.lines("val", 2, "v"), "x,hall,test,"]
        )
        pictures = read_table(table)
        assert pictures.has_val
        assert len(pictures.manifest) == 20
        assert "neither train nor val: 1" in pictures.notes[0]

    def test_splits_without_train(self, tmp_path: Path):
        table = write_table(tmp_path / "t.csv", [self.head, *self.lines("test")])
        with pytest.raises(ManifestError, match="says test; it needs `train`"):
            read_table(table)

    def test_val_pictures_do_not_count_as_learnt(self, tmp_path: Path):
        table = write_table(tmp_path / "t.csv", [self.head, *self.lines("train", 7), *self.lines("val", 9, "v")])
        with pytest.raises(ManifestError, match="'hall' has 7 pictures"):
            read_table(table)

    def test_scene_that_only_val_has(self, tmp_path: Path):
        table = write_table(tmp_path / "t.csv", [self.head, *self.lines("train"), "x.jpg,cellar,val,"])
        with pytest.raises(ManifestError, match="train does not have: cellar"):
            read_table(table)

    def test_picture_that_is_there_twice(self, tmp_path: Path):
        table = write_table(tmp_path / "t.csv", [self.head, *self.lines("train"), "hall/3.jpg,hall,val,"])
        with pytest.raises(ManifestError, match=r"lines 5 and 18: hall/3\.jpg is there twice"):
            read_table(table)

    def test_missing_column(self, tmp_path: Path):
        with pytest.raises(ManifestError, match="no column 'scene'"):
            read_table(write_table(tmp_path / "t.csv", ["path,label", "a.jpg,hall"]))


def entries(groups: Mapping[str, list[str]], each: int = 4) -> list[Entry]:
    """`each` pictures of every group of a scene."""
    return [
        Entry(0, f"{scene}/{group}/{i}.jpg", scene, group=group)
        for scene, names in groups.items()
        for group in names
        for i in range(each)
    ]


class TestSplit:
    def test_a_fifth_of_every_scene(self):
        split = split_entries(entries({"hall": [""], "shop": [""]}, each=20))
        assert len(split.dev) == 8
        assert sum(i < 20 for i in split.dev) == 4
        assert sorted([*split.train, *split.dev]) == list(range(40))
        assert len(split.val) == 0
        assert split.notes == ()

    def test_groups_stay_together(self):
        offered = entries({"hall": [f"hall{i}" for i in range(5)], "shop": [f"shop{i}" for i in range(4)]})
        split = split_entries(offered)
        dev, train = ({offered[i].group for i in part} for part in (split.dev, split.train))
        assert not dev & train
        assert len(dev) == 2
        assert split.notes == ()

    def test_groups_of_several_scenes_stay_together_too(self):
        houses = [f"house{i}" for i in range(10)]
        offered = entries({"hall": houses, "bath": houses})
        split = split_entries(offered)
        dev, train = ({offered[i].group for i in part} for part in (split.dev, split.train))
        assert len(dev) == 2
        assert not dev & train

    def test_too_few_groups_are_scattered_with_a_note(self):
        split = split_entries(entries({"hall": ["one"], "shop": ["a", "b", "c"]}, each=8))
        assert len(split.dev) > 0
        (note,) = split.notes
        assert "hall would have been left without" in note

    def test_val_is_nobody_elses(self):
        offered = [Entry(0, f"{i}.jpg", "ab"[i % 2], split="val" if i < 4 else "train") for i in range(24)]
        split = split_entries(offered)
        assert split.val.tolist() == [0, 1, 2, 3]
        assert not set(split.val) & {*split.train, *split.dev}


class TestStart:
    def test_last_layers_are_new_and_the_rest_is_not(self):
        package = find_package("scene18")
        network, new = start_network(package, ["a", "b", "c"])
        old = build_scene_network(network_parts(package, package.labels))
        load_weights(old, package.path("weights"))
        state = network.state_dict()
        assert any(name.endswith("weight") for name in new)
        assert all(name.startswith("classifier.") for name in new)
        for name, tensor in old.state_dict().items():
            assert (name in new) or torch.equal(tensor, state[name]), name
        assert {3} == {state[name].shape[0] for name in new}

    def test_as_many_scenes_as_before_are_new_too(self):
        package = find_package("scene18")
        assert start_network(package, [f"s{i}" for i in range(18)]).new == start_network(package, ["a", "b"]).new

    def test_inputs_are_what_the_classifier_is_given(self):
        network = start_network(find_package("scene18"), ["a", "b"]).network.eval()
        pictures = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            wanted = network.forward_training(pictures)
            given = network.classifier(*ClassifierInputs(network)(pictures))
        assert torch.equal(given.scene, wanted.scene)

    def test_other_models_are_refused(self, tmp_path: Path):
        with pytest.raises(ModelError, match="unknown model 'scene81'"):
            find_start("scene81")
        file = {"path": "w", "sha256": "0"}
        segmenter = {"name": "s", "version": 1, "segmenter": {"kind": "upernet_r50"}, "files": {"weights": file}}
        (tmp_path / "model.json").write_text(json.dumps(segmenter))
        with pytest.raises(ModelError, match="is a segmenter model; own scenes start from"):
            find_start(str(tmp_path))


class TestViews:
    preprocess = find_package("scene18").preprocess

    def picture(self) -> np.ndarray:
        small = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        return cv2.resize(small, (300, 200), interpolation=cv2.INTER_CUBIC)

    def test_first_the_picture_as_in_use(self):
        views = all_views(self.picture(), 3, self.preprocess, (1, 2))
        assert views.shape == (4, 3, self.preprocess.height, self.preprocess.width)
        assert views.dtype == np.float32
        assert np.array_equal(views[0], self.preprocess(self.picture()))
        assert not np.array_equal(views[1], views[2])

    def test_the_seed_decides(self):
        one, same, other = (all_views(self.picture(), 2, self.preprocess, seed) for seed in ((1, 2), (1, 2), (1, 3)))
        assert np.array_equal(one, same)
        assert not np.array_equal(one[1], other[1])

    def test_any_size(self):
        for shape in ((1, 1, 3), (2, 700, 3)):
            assert np.isfinite(all_views(np.zeros(shape, np.uint8), 2, self.preprocess, (0,))).all()


class TestReport:
    labels = ("bath", "hall", "shop")

    def measured(self) -> Measured:
        """Three of ten halls are taken for shops, the second of them with the greatest certainty."""
        targets = np.array([0] * 5 + [1] * 10 + [2] * 5)
        said = targets.copy()
        said[[6, 7, 8]] = 2
        probabilities = np.full((20, 3), 0.1)
        probabilities[np.arange(20), said] = 0.8
        probabilities[7] = (0.01, 0.01, 0.98)
        return Measured(probabilities, targets, [f"{i}.jpg" for i in range(20)])

    def test_figures_with_counts(self):
        figures = figures_of(self.measured(), self.labels, (40, 30, 120), 0.85)
        assert (figures["count"], figures["right"], figures["top1"]) == (20, 17, 0.85)
        assert figures["mca"] == pytest.approx(2.7 / 3)
        assert figures["classes"]["hall"] == {"learnt": 30, "count": 10, "right": 7, "top1": 0.7}
        assert figures["confused"] == [("hall", "shop", 3)]
        assert figures["unknown_share"] == pytest.approx(19 / 20)
        assert [row["path"] for row in figures["mistakes"]] == ["7.jpg", "6.jpg", "8.jpg"]
        json.dumps(figures)

    @pytest.mark.parametrize(("learnt", "said"), [(30, "add more"), (300, "make them one scene")])
    def test_advice_on_weak_scenes(self, learnt: int, said: str):
        (sentence,) = advice(figures_of(self.measured(), self.labels, (40, learnt, 120), 0.5))
        assert sentence.startswith("hall: 7 of 10 right, 3 taken for shop.")
        assert said in sentence

    def test_lines_say_it_all(self):
        figures = figures_of(self.measured(), self.labels, (40, 30, 120), 0.5)
        calibration = {"temperature": 0.75, "unknown_threshold": 0.5}
        report = {"model": "mine", "start": "scene18", "measured_on": "val", "figures": figures}
        text = "\n".join(
            report_lines(report | {"calibration": calibration, "advice": advice(figures), "notes": ["N."]})
        )
        for part in ("Top@1 0.850 (17 of 20)", "MCA 0.900", "hall taken for shop: 3", "temperature 0.750", "note: N."):
            assert part in text


class TestOutput:
    def test_force_replaces_a_model_and_nothing_else(self, tmp_path: Path):
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "model.json").write_text("old")
        (tmp_path / "mine.txt").touch()
        with pytest.raises(OutputError, match="holds a model already: replace it with --force"):
            check_output(tmp_path, False, None)
        check_output(tmp_path, True, None)
        with working_folder(tmp_path) as work:
            (work / "model").mkdir()
            (work / "model" / "model.json").write_text("new")
            publish(work, tmp_path, {"scene": "Büro"})
        assert (tmp_path / "model" / "model.json").read_text() == "new"
        assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == {"scene": "Büro"}
        assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.txt", "model", "report.json"]

    def test_a_folder_that_is_no_model_is_left_alone(self, tmp_path: Path):
        (tmp_path / "model").mkdir()
        with pytest.raises(OutputError, match="is no model; choose another --output"):
            check_output(tmp_path, True, None)

    def test_output_among_the_scenes(self, tmp_path: Path):
        with pytest.raises(ConfigError, match="lies in the folder of the pictures"):
            check_output(tmp_path / "out", False, tmp_path)

    def test_output_that_is_a_file(self, tmp_path: Path):
        (tmp_path / "out").touch()
        with pytest.raises(OutputError, match="a file of that name"):
            check_output(tmp_path / "out", False, None)

    def test_a_disk_that_is_too_small(self, tmp_path: Path):
        check_space(tmp_path, 1)
        with pytest.raises(OutputError, match="or fewer --views"):
            check_space(tmp_path, 10**18)

    def test_a_broken_off_training_leaves_nothing(self, tmp_path: Path):
        with pytest.raises(KeyboardInterrupt), working_folder(tmp_path / "out") as work:
            (work / "model").mkdir()
            raise KeyboardInterrupt
        assert list(tmp_path.iterdir()) == []


class TestCommand:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ((), "give one of --pictures DIR"),
            (("--pictures", "p", "--manifest", "m"), "not --pictures and --manifest"),
            (("--recipe", "mit67", "--root", "r", "--pictures", "p"), "not --recipe and --pictures"),
            (("--recipe", "mit67"), "--recipe needs --root"),
            (
                ("--recipe", "mit67", "--root", "r", "--views", "0", "--force"),
                "--views and --force do not go with --recipe",
            ),
            (("--pictures", "p", "--root", "r"), "--root does not go with --pictures"),
            (("--pictures", "p", "--resume", "--device", "cpu"), "--resume and --device do not go with own scenes"),
            (("--manifest", "m", "--workers", "0", "--set", "a=1"), "--workers and --set do not go with own scenes"),
            (("--recipe", "scene18", "--root", "r", "--seed", "0"), "--seed, --semantics, --cache and --no-cache"),
        ],
    )
    def test_wrong_combinations_get_one_line(self, options: tuple[str, ...], said: str, tmp_path: Path, capsys):
        assert run_command_line(["train", *options, "--output", str(tmp_path / "out")]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert said in line
        assert not (tmp_path / "out").exists()

    def test_own_pictures_reports_an_own_error(self, tmp_path: Path, capsys):
        folder = fill(tmp_path / "mine", {"hall": 9, "shop": 3})
        assert run_command_line(["train", "--pictures", str(folder), "-o", str(tmp_path / "out")]) == 1
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "scene 'shop' has 3 pictures" in line


def test_manifest_attribute_is_what_the_training_reads(tmp_path: Path):
    pictures = read_folder(fill(tmp_path, {"hall": 8, "shop": 8}))
    assert isinstance(pictures, OwnPictures)
    assert pictures.manifest.path(0) == tmp_path / "hall" / "0.jpg"
    assert pictures.folder == tmp_path
