"""Pictures of none of the scenes against known ones: the table, the figures, the command."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.prediction import Prediction
from tests.unit.test_evaluate import ColourRecognizer
from tools.data.manifest import ManifestError
from tools.unknown_evaluation import evaluate_unknowns, read_unknowns


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two grey pictures to report on, one forest among them, and one to tune with."""
    rows = {"texture/report/a.png": (90, 90, 90), "object/report/b.png": (0, 200, 0), "texture/tune/c.png": (9, 9, 9)}
    for path, rgb in rows.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / path), np.full((8, 8, 3), rgb[::-1], np.uint8))
    file = tmp_path / "unknowns.csv"
    file.write_text("path,kind,part,source\n" + "".join(f"{p},{p.split('/')[0]},{p.split('/')[1]},x\n" for p in rows))
    return file


def test_the_report_part_alone_is_read(table: Path):
    assert [entry.scene for entry in read_unknowns(table).entries] == ["texture", "object"]


def test_a_path_without_a_part_is_named(tmp_path: Path):
    file = tmp_path / "unknowns.csv"
    file.write_text("path,kind\nsomewhere/x.png,texture\n")
    with pytest.raises(ManifestError, match=r"line 2: somewhere/x\.png is no path KIND/PART/NAME"):
        read_unknowns(file)


def test_grey_is_stranger_than_a_colour_that_is_a_scene(table: Path):
    told = evaluate_unknowns(ColourRecognizer(), read_unknowns(table), np.array([0.9, 0.95, 0.99]))
    assert told["auroc"]["texture"] == 1.0
    assert told["called"] == {"object": 0.0, "texture": 1.0}
    assert told["counts"] == {"object": 1, "texture": 1, "known": 3}
    assert json.loads(json.dumps(told)) == told


def test_a_model_s_own_probability_counts_where_it_has_one():
    sure = np.array([0.98, 0.01, 0.01], np.float32)
    assert Prediction(sure, ("a", "b", "c")).known == pytest.approx(0.98)
    assert Prediction(sure, ("a", "b", "c"), p_unknown=0.7).known == pytest.approx(0.3)
