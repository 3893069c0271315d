"""The paper's way from pictures to figures, by commands alone, on miniatures of its four data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from paper_data import MiniDataset, write_dataset

from tools.commands import run_command_line

RECIPE = """
method: two_stage
extends: {extends}
name: miniature
seed: 3
defaults: {{batch: 3}}
stages:
  rgb: {{epochs: 1, epoch_samples: null}}
  semantic: {{epochs: 1, epoch_samples: null}}
  both: {{epochs: 1, epoch_samples: null}}
"""


@pytest.fixture(params=["ade20k", "mit67", "sun397", "places365"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> MiniDataset:
    return write_dataset(request.param, tmp_path / "data", train=2, val=1)


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    code = run_command_line([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert code == 0, said.err
    return said.out


def figures(result: dict[str, Any]) -> dict[str, Any]:
    return {key: result[key] for key in ("count", "top1", "top2", "top5", "mca", "mca_absent_as_zero", "ece")}


def test_precompute_train_both_stages_evaluate(
    data: MiniDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, run = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(RECIPE.format(extends=data.name), encoding="utf-8")
    place = ("--dataset", data.name, "--root", data.root)
    call(capsys, "precompute", *place, "--split", "all", "--segmenter", "scene18")
    call(capsys, "train", "--recipe", recipe, "--root", data.root, "--output", run, "--workers", 0)

    def evaluated(*more: object) -> tuple[dict[str, Any], str]:
        table = tmp_path / "predictions.csv"
        network = ("--checkpoint", run / "both" / "best.pth.tar", "--ten-crop")
        out = call(capsys, "evaluate", *place, *network, *more, "--predictions", table, "--json")
        return figures(json.loads(out)), table.read_text(encoding="utf-8")

    found = evaluated()
    assert found[0]["count"] == 3
    assert evaluated() == found
    assert evaluated("--semantics", "scene18") == found
