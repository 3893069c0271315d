"""`evaluate --checkpoint` by the reference's protocol, over miniatures of its data sets, with networks of 3 scenes."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from paper_data import MiniDataset, write_dataset, write_semantics
from PIL import Image

from models.classifiers.two_branch import RGBNet, SemanticNet, TwoBranchNet
from models.crops import CropPreprocess
from models.encoding import LabelBase, scatter_top3
from models.segmentation import load_segmenter
from tools.commands import run_command_line
from tools.data.layouts import read_layout
from tools.data.semantics import SemanticFiles
from tools.reference_evaluation import Protocol, evaluate_reference
from tools.semantic_sources import FreshSemantics
from tools.zoo.importing import import_model

Checkpoints = dict[str, Path]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    """Networks of three scenes in the public form, with random weights."""
    folder = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(5)
    networks = {
        "both": TwoBranchNet("resnet18", scene_classes=3),
        "rgb": RGBNet("resnet18", scene_classes=3),
        "semantic": SemanticNet(scene_classes=3),
    }
    for name, network in networks.items():
        state = {f"module.{key}": value for key, value in network.state_dict().items()}
        torch.save({"state_dict": state, "epoch": 7, "best_prec1": 61.5}, folder / f"{name}.pth.tar")
    return {name: folder / f"{name}.pth.tar" for name in networks}


@pytest.fixture(scope="module")
def ade(tmp_path_factory: pytest.TempPathFactory) -> MiniDataset:
    data = write_dataset("ade20k", tmp_path_factory.mktemp("ade"), train=1, val=2)
    write_semantics(data)
    return data


def run(*arguments: object) -> int:
    return run_command_line(["evaluate", *map(str, arguments)])


def result_of(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> dict:
    capsys.readouterr()
    found = run(*arguments, "--json")
    said = capsys.readouterr()
    assert found == code, said.err
    return json.loads(said.out)


def on(data: MiniDataset, checkpoint: Path) -> tuple[object, ...]:
    return ("--dataset", data.name, "--root", data.root, "--checkpoint", checkpoint)


FIGURES = ("count", "top1", "top2", "top5", "mca", "mca_absent_as_zero", "ece")


def figures_of(result: dict) -> dict:
    return {key: result[key] for key in FIGURES}


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def dense_logits(data: MiniDataset, network: torch.nn.Module, ten: bool) -> dict[str, np.ndarray]:
    """Logits of each output for the first picture, by the definition: crop after crop, through 152 channels."""
    pictures, crop = read_layout(data.name, data.root), CropPreprocess(short_side=data.layout.short_side)
    files = SemanticFiles(data.root, data.layout)
    found: dict[str, list[np.ndarray]] = {"scene": [], "rgb": [], "semantic": []}
    for index, entry in enumerate(pictures.entries[:1]):
        resized = crop.resized(pictures[index])
        semantics = crop.resized_map(files.read(entry))
        rows: dict[str, list[np.ndarray]] = {key: [] for key in found}
        for box in crop.boxes(resized, ten):
            tensor = torch.from_numpy(scatter_top3(*crop.map(semantics, box)))[None]
            with torch.inference_mode():
                outputs = network(torch.from_numpy(crop.tensor(resized, box))[None], tensor)
            for key in found:
                rows[key].append(getattr(outputs, key)[0].numpy())
        for key in found:
            found[key].append(np.mean(rows[key], axis=0))
    return {key: np.stack(value) for key, value in found.items()}


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize(("branch", "output"), [(None, "scene"), ("rgb", "rgb"), ("semantic", "semantic")])
def test_branches_of_a_two_branch_network(
    ade: MiniDataset, checkpoints: Checkpoints, branch: str | None, output: str
) -> None:
    network = TwoBranchNet("resnet18", scene_classes=3).eval()
    network.load_state_dict(
        {key.removeprefix("module."): v for key, v in torch.load(checkpoints["both"])["state_dict"].items()}
    )
    protocol = Protocol(str(checkpoints["both"]), branch=branch, batch=4)  # type: ignore[arg-type]
    result = evaluate_reference(read_layout("ade20k", ade.root), ade.layout, protocol, lambda *_: None)
    expected = softmax(dense_logits(ade, network, ten=False)[output])
    np.testing.assert_allclose(result.evaluation.probabilities[:1], expected, atol=1e-4)
    assert result.details["branch"] == (branch or "both")
    assert result.details["semantics"]["source"] == ("none" if branch == "rgb" else "files")


@pytest.mark.parametrize("name", ["ade20k", "places365"])
def test_ten_crops_average_the_logits(name: str, checkpoints: Checkpoints, tmp_path: Path) -> None:
    data = write_dataset(name, tmp_path, val=1)
    write_semantics(data)
    network = SemanticNet(scene_classes=3).eval()
    network.load_state_dict(
        {key.removeprefix("module."): v for key, v in torch.load(checkpoints["semantic"])["state_dict"].items()}
    )
    protocol = Protocol(str(checkpoints["semantic"]), ten_crop=True, batch=2)
    result = evaluate_reference(read_layout(name, data.root), data.layout, protocol, lambda *_: None)
    expected = softmax(dense_logits(data, network, ten=True)["scene"])
    np.testing.assert_allclose(result.evaluation.probabilities[:1], expected, atol=1e-4)
    assert result.details["crops"] == 10
    assert result.details["preprocess"]["short_side"] == (None if name == "places365" else 256)


def test_float_scores_are_those_of_files_before_rounding(tmp_path: Path) -> None:
    """Compared here, not by the scenes, which rounding moves by less than six digits show."""
    data = write_dataset("mit67", tmp_path, train=1, val=1)
    pictures, crop = read_layout("mit67", data.root, "val"), CropPreprocess(short_side=256)
    segmenter = load_segmenter("scene18")
    rounded, exact = (FreshSemantics([segmenter], LabelBase.ZERO, {}, rounded=value) for value in (True, False))
    files = rounded.resized(pictures, 0, pictures[0], crop)
    floats = exact.resized(pictures, 0, pictures[0], crop)
    np.testing.assert_array_equal(files.labels, floats.labels)
    np.testing.assert_allclose(
        files.scores / 255, floats.scores, atol=2 / 255
    )  # rounded twice: as a score, and when resized
    assert floats.scores.dtype == np.float32
    assert (files.scores / 255 != floats.scores).any()


def test_the_same_again_and_from_files_or_on_the_fly(
    checkpoints: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_dataset("mit67", tmp_path, train=1, val=2)
    command = ["precompute", "--dataset", "mit67", "--root", str(data.root), "--segmenter", "scene18"]
    assert run_command_line([*command, "--split", "val"]) == 0
    arguments = (*on(data, checkpoints["semantic"]), "--ten-crop", "--batch", 3)
    outputs = [tmp_path / f"{n}.csv" for n in range(3)]
    results = [
        result_of(capsys, *arguments, "--predictions", outputs[0]),
        result_of(capsys, *arguments, "--predictions", outputs[1]),
        result_of(capsys, *arguments, "--predictions", outputs[2], "--semantics", "scene18"),
    ]
    assert figures_of(results[0]) == figures_of(results[1]) == figures_of(results[2])
    assert outputs[0].read_text() == outputs[1].read_text() == outputs[2].read_text()
    made_by = {"Segmenter": "scene18", "SegmenterSha256": load_segmenter("scene18").sha256, "Scales": "own"}
    assert results[0]["semantics"]["made_by"] == [{"pictures": 6, "LabelBase": "0", **made_by}]
    assert results[2]["semantics"] == {
        "source": "segmenter", "label_base": "0", "scores": "8 bit", "made_by": made_by,
    }  # fmt: skip

    floats = result_of(capsys, *arguments, "--semantics", "scene18", "--float-scores", "--predictions", outputs[1])
    assert floats["semantics"]["scores"] == "float"
    rows = [rows_of(path) for path in outputs[:2]]
    assert [row["path"] for row in rows[0]] == [row["path"] for row in rows[1]]
    for rounded, exact in zip(*rows, strict=True):
        assert float(rounded["p1"]) == pytest.approx(float(exact["p1"]), abs=0.02)

    other = result_of(capsys, *arguments, "--semantics", "scene18", "--label-base", 1)
    assert other["semantics"]["label_base"] == "1"
    assert figures_of(other) != figures_of(results[0])


def test_result_says_how_to_have_it_again(
    ade: MiniDataset, checkpoints: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    result = result_of(capsys, *on(ade, checkpoints["semantic"]), "--output", out, "--workers", 1)
    assert json.loads((out / "result.json").read_text()) == result
    assert set(FIGURES) <= result.keys()
    assert result["count"] == 6 and result["top5"] == 1.0
    assert result["is_accuracy"] is True and result["overlap"] is None
    assert (result["dataset"], result["split"], result["branch"], result["crops"]) == ("ade20k", "val", "semantic", 1)
    assert result["checkpoint"]["epoch"] == 7 and len(result["checkpoint"]["sha256"]) == 64
    assert result["list"]["file"].endswith("sceneCategories_validation.txt") and len(result["list"]["sha256"]) == 64
    assert result["semantics"]["label_base"] == "0"
    assert {"python", "torch", "scene-streamer", "numpy"} <= result["versions"].keys()
    assert result["torch_threads"] == 1 and result["random"] == "none" and result["command"]

    rows = rows_of(out / "classes.csv")
    assert [row["scene"] for row in rows] == list(ade.scenes)
    assert sum(int(row["count"]) for row in rows) == 6
    assert np.mean([float(row["top1"]) for row in rows]) == pytest.approx(result["mca"])
    for name in ("confusion.png", "reliability.png"):
        with Image.open(out / name) as image:
            assert image.format == "PNG" and min(image.size) > 300


def test_absent_scenes_and_the_training_split(
    checkpoints: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_dataset("ade20k", tmp_path, train=2, val=1)
    write_semantics(data)
    file = tmp_path / "sceneCategories_training.txt"
    file.write_text("".join(line + "\n" for line in file.read_text().splitlines() if "street" not in line))
    result = result_of(capsys, *on(data, checkpoints["semantic"]), "--split", "train", "--output", tmp_path / "out")
    assert (result["count"], result["scenes"], result["scenes_present"]) == (4, 3, 2)
    assert result["mca_absent_as_zero"] == pytest.approx(result["mca"] * 2 / 3)
    rows = rows_of(tmp_path / "out" / "classes.csv")
    assert rows[2] == {
        "index": "2", "scene": "street", "count": "0", "top1": "", "top2": "", "top5": "",
        "most_confused_with": "", "confused": "",
    }  # fmt: skip


def test_text_output(ade: MiniDataset, checkpoints: Checkpoints, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*on(ade, checkpoints["semantic"])) == 0
    said = capsys.readouterr().out
    assert "Top@1" in said and "MCA of the reference" in said and "kitchen" in said


def test_a_few_pictures_are_spread_over_the_list(
    ade: MiniDataset, checkpoints: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "p.csv"
    result = result_of(capsys, *on(ade, checkpoints["semantic"]), "--limit", 3, "--predictions", table)
    assert result["count"] == 3 and result["limit"] == 3
    assert [row["scene"] for row in rows_of(table)] == list(ade.scenes)


def test_equal_lists_give_no_accuracy(
    checkpoints: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_dataset("sun397", tmp_path)
    write_semantics(data)
    (tmp_path / "train.txt").write_text((tmp_path / "val.txt").read_text().replace("val/", "train/"))
    arguments = on(data, checkpoints["semantic"])
    result = result_of(capsys, *arguments, code=1)
    assert result["is_accuracy"] is False and "no accuracy" in result["doubt"]
    assert result["overlap"] == {"shared": 6, "train": 6, "val": 6, "equal": True}
    assert run(*arguments) == 1
    said = capsys.readouterr()
    assert "NOT AN ACCURACY" in said.out
    assert "train.txt and val.txt of SUN 397 name the same pictures" in said.err and "--partition" in said.err
    result = result_of(capsys, *arguments, "--partition", "Training_01/Testing_01")
    assert result["is_accuracy"] is True and result["overlap"]["partition"] == "Training_01/Testing_01"


def test_a_table_of_pictures(
    ade: MiniDataset, checkpoints: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.csv"
    entries = read_layout("ade20k", ade.root).entries
    table.write_text("path,scene,source\n" + "".join(f"{e.path},{e.scene},mini\n" for e in entries))
    arguments = ("--manifest", table, "--root", ade.root)
    assert run(*arguments, "--checkpoint", checkpoints["rgb"]) == 1
    assert "does not name its 3 scenes" in capsys.readouterr().err

    content = torch.load(checkpoints["rgb"])
    named = tmp_path / "named.pth.tar"
    torch.save(content | {"labels": list(ade.scenes)}, named)
    result = result_of(capsys, *arguments, "--checkpoint", named)
    assert result["dataset"] is None and result["count"] == 6
    assert result["sources"]["mini"]["count"] == 6
    assert figures_of(result) == figures_of(result_of(capsys, *on(ade, checkpoints["rgb"])))


def test_an_imported_model(
    ade: MiniDataset,
    checkpoints: Checkpoints,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SCENE_STREAMER_CACHE", str(tmp_path))
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(ade.scenes))
    package = import_model([checkpoints["semantic"]], "tiny", labels)
    imported = result_of(capsys, *on(ade, Path("tiny")))
    assert figures_of(imported) == figures_of(result_of(capsys, *on(ade, checkpoints["semantic"])))
    # A calibrated model is measured with its temperature: other confidences, the same order.
    manifest = package.folder / "model.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"calibration": {"temperature": 0.05}}))
    calibrated = result_of(capsys, *on(ade, Path("tiny")))
    assert calibrated["temperature"] == 0.05
    assert calibrated["top1"] == imported["top1"]
    assert calibrated["ece"] != imported["ece"]


def check_refusal(capsys: pytest.CaptureFixture[str], text: str, *arguments: object, code: int = 1) -> None:
    capsys.readouterr()
    assert run(*arguments) == code
    said = capsys.readouterr()
    assert text in " ".join(said.err.split()), said.err
    assert "internal error" not in said.err and not said.out


def test_misuse_of_options(ade: MiniDataset, checkpoints: Checkpoints, capsys: pytest.CaptureFixture[str]) -> None:
    check_refusal(capsys, "either --manifest CSV or --dataset", code=2)
    check_refusal(capsys, "--dataset needs --checkpoint", "--dataset", "ade20k", "--root", ade.root, code=2)
    check_refusal(capsys, "needs --root", "--dataset", "ade20k", "--checkpoint", "x.pth.tar", code=2)
    check_refusal(capsys, "do not go with --checkpoint", *on(ade, checkpoints["rgb"]), "--model", "scene18", code=2)
    check_refusal(capsys, "no checkpoint nothing.pth.tar", *on(ade, Path("nothing.pth.tar")))
    check_refusal(capsys, "scene18", *on(ade, Path("scene18")))
    check_refusal(capsys, "only the branch 'rgb', not 'semantic'", *on(ade, checkpoints["rgb"]), "--branch", "semantic")
    check_refusal(capsys, "unknown model 'upernet_r50'", *on(ade, checkpoints["both"]), "--semantics", "upernet_r50")


def test_scenes_that_are_not_the_data_sets(
    ade: MiniDataset, checkpoints: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.pth.tar"
    torch.save({"state_dict": SemanticNet(scene_classes=67).state_dict()}, other)
    check_refusal(
        capsys,
        f"tells 67 scenes apart (as many as MIT Indoor 67 has: --dataset mit67), but ADE20K in {ade.root} has 3",
        *on(ade, other),
    )
    content = torch.load(checkpoints["rgb"])
    torch.save(content | {"labels": ["kitchen", "beach", "street"]}, other)
    check_refusal(capsys, "in another order than ADE20K: 'beach' is its number 1, not 0", *on(ade, other))
    torch.save(content | {"labels": ["beach", "kitchens", "street"]}, other)
    check_refusal(capsys, "has other scenes than ADE20K: 'kitchen' is not in", *on(ade, other))


def test_files_that_are_amiss(checkpoints: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_dataset("ade20k", tmp_path / "data", train=1, val=1)
    arguments = on(data, checkpoints["semantic"])
    check_refusal(capsys, "3 of 3 pictures have no semantics under", *arguments)
    files = write_semantics(data)
    check_refusal(capsys, "it lies in", "--dataset", "ade20k", "--root", tmp_path, *arguments[4:])
    check_refusal(capsys, "its labels start at 0, not 1", *arguments, "--label-base", 1)
    entry = read_layout("ade20k", data.root).entries[1]
    labels, _ = files.paths(entry)
    content = labels.read_bytes()
    Image.new("RGB", (30, 20)).save(labels)
    check_refusal(capsys, f"{labels} is 30x20, its picture 60x48", *arguments)
    labels.write_bytes(content[:200])
    check_refusal(capsys, f"{labels} is damaged", *arguments)
    labels.write_bytes(content)
    (data.root / entry.path).write_bytes(b"")
    check_refusal(capsys, "is not a picture that can be read", *arguments)
    (data.root / entry.path).unlink()
    check_refusal(capsys, "1 of the 3 pictures in", *arguments)


def test_pictures_smaller_than_the_crop(
    checkpoints: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_dataset("places365", tmp_path, train=1, val=1, size=(200, 300))
    check_refusal(capsys, "the picture is 300x200, smaller than the crop 224x224", *on(data, checkpoints["rgb"]))


def test_bases_of_files_are_reported(
    checkpoints: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_dataset("mit67", tmp_path, train=1, val=1)
    write_semantics(data, LabelBase.ONE)
    arguments = on(data, checkpoints["semantic"])
    assert result_of(capsys, *arguments)["semantics"]["label_base"] == "1"
    for path in tmp_path.rglob("*.png"):  # as released: no text chunks
        with Image.open(path) as image:
            pixels = np.asarray(image)
        Image.fromarray(pixels).save(path)
    # The third scene's label is 150 in base 1, which settles it.
    assert result_of(capsys, *arguments)["semantics"]["label_base"] == "1"
    (tmp_path / "val.txt").write_text("val/bathroom/val_0.jpg\n")
    assert result_of(capsys, *arguments)["semantics"]["label_base"] == "not stated"


def test_semantics_from_another_folder_and_of_one_channel(
    ade: MiniDataset, checkpoints: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("annotations", "scores"):
        for path in (ade.root / f"noisy_{kind}_RGB").rglob("*.png"):
            target = tmp_path / f"noisy_{kind}" / path.relative_to(ade.root / f"noisy_{kind}_RGB")
            target.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(path) as image:
                image.getchannel(0).save(target)
    result = result_of(capsys, *on(ade, checkpoints["semantic"]), "--semantics-root", tmp_path)
    assert result["semantics"]["folder"] == str(tmp_path)
    shutil.rmtree(tmp_path / "noisy_scores")
    check_refusal(capsys, "6 of 6 pictures", *on(ade, checkpoints["semantic"]), "--semantics-root", tmp_path)


def test_diagrams_need_matplotlib(
    ade: MiniDataset,
    checkpoints: Checkpoints,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    check_refusal(
        capsys, "diagrams need matplotlib: pip install", *on(ade, checkpoints["semantic"]), "--output", tmp_path
    )


def test_broken_weights_are_no_result(ade: MiniDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = SemanticNet(scene_classes=3)
    torch.nn.init.constant_(network.fc_SEM.bias, float("nan"))
    path = tmp_path / "nan.pth.tar"
    torch.save({"state_dict": network.state_dict()}, path)
    check_refusal(capsys, "numbers that are none (NaN)", *on(ade, path))
