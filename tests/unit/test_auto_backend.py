"""`--backend auto`: what it picks, what it keeps, and when it measures again."""

from __future__ import annotations

import json
import logging

import pytest

from models import auto_backend
from models.auto_backend import Choice, choose
from models.errors import ModelError
from models.package import find_package

PACKAGE = find_package("scene18")
ASKED = {"device": "cpu", "threads": 1, "precision": "auto", "lanes": 1}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCENE_STREAMER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "backends.json"


@pytest.fixture
def engines(monkeypatch):
    """Both libraries seem to be installed; each needs the milliseconds that the test says. Gives the measured ones."""
    speeds, measured = {"openvino": 2.0, "onnxruntime": 1.0}, []

    def times(package, backends):
        measured.append([choice.engine for choice in backends])
        return {choice: speeds[choice.engine] for choice in backends}

    monkeypatch.setattr(auto_backend.importlib.util, "find_spec", lambda name: object() if name in speeds else None)
    monkeypatch.setattr(auto_backend, "_built", lambda *_: None)
    monkeypatch.setattr(auto_backend, "_times", times)
    monkeypatch.setattr(auto_backend, "version", lambda name: "1.0")
    return speeds, measured


def test_the_quickest_is_picked_once_and_kept(cache, engines, caplog):
    _, measured = engines
    with caplog.at_level(logging.INFO):
        first, second = choose(PACKAGE, **ASKED), choose(PACKAGE, **ASKED)
    assert first == second == Choice(engine="onnxruntime", precision="f32", threads=1, ms=1.0)
    assert measured == [["openvino", "onnxruntime"]]
    told, kept = (record.getMessage() for record in caplog.records)
    assert told.startswith("auto: onnxruntime f32, 1 threads, 1.0 ms a picture (openvino f32, 1 threads 2.0); measured")
    assert str(cache) in told
    assert "cached" in kept


def test_what_is_quicker_by_chance_alone_is_not_picked(cache, engines):
    engines[0]["onnxruntime"] = 1.95
    assert choose(PACKAGE, **ASKED).engine == "openvino"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}', "\x00"])
def test_a_damaged_file_is_measured_again_and_mended(content, cache, engines):
    cache.parent.mkdir()
    cache.write_text(content)
    choose(PACKAGE, **ASKED)
    choose(PACKAGE, **ASKED)
    assert len(engines[1]) == 1
    assert len(json.loads(cache.read_text())) == 1


def test_a_choice_that_cannot_be_is_measured_again(cache, engines):
    choose(PACKAGE, **ASKED)
    entries = json.loads(cache.read_text())
    cache.write_text(json.dumps({key: value | {"precision": "f8"} for key, value in entries.items()}))
    assert choose(PACKAGE, **ASKED).precision == "f32"
    assert len(engines[1]) == 2


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path, monkeypatch, engines, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SCENE_STREAMER_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.INFO):
        assert choose(PACKAGE, **ASKED).engine == "onnxruntime"
    assert "not cached" in caplog.text


@pytest.mark.parametrize("other", [{"threads": 2}, {"lanes": 2}, {"threads": None}])
def test_other_wishes_are_measured_for_themselves(other, cache, engines):
    choose(PACKAGE, **ASKED)
    choose(PACKAGE, **ASKED | other)
    assert len(engines[1]) == 2


@pytest.mark.parametrize(
    ("what", "value"),
    [("version", lambda name: "2.0"), ("processor_name", lambda: "another"), ("usable_cores", lambda: 64)],
)
def test_another_machine_or_library_is_measured_for_itself(what, value, cache, engines, monkeypatch):
    choose(PACKAGE, **ASKED)
    monkeypatch.setattr(auto_backend, what, value)
    choose(PACKAGE, **ASKED)
    assert len(engines[1]) == 2


def test_another_model_is_measured_for_itself(cache, engines):
    choose(PACKAGE, **ASKED)
    file = PACKAGE.manifest.files["weights"].model_copy(update={"sha256": "0" * 64})
    other = find_package("scene18")
    other.manifest = PACKAGE.manifest.model_copy(update={"files": PACKAGE.manifest.files | {"weights": file}})
    choose(other, **ASKED)
    assert len(engines[1]) == 2


def test_only_precisions_that_the_model_allows_take_part(cache, engines, monkeypatch):
    seen = []
    monkeypatch.setattr(auto_backend, "_built", lambda package, device, choice, lanes: seen.append(choice))
    allowing = find_package("scene18")
    allowing.manifest = PACKAGE.manifest.model_copy(update={"precisions": ("f32", "bf16")})
    choose(allowing, **ASKED)
    assert {choice.precision for choice in seen} == {"f32", "bf16"}
    seen.clear()
    choose(PACKAGE, **ASKED)
    assert {choice.precision for choice in seen} == {"f32"}
    seen.clear()
    choose(PACKAGE, **ASKED | {"precision": "bf16"})
    assert {choice.precision for choice in seen} == {"bf16"}


def test_where_there_is_nothing_to_choose_from_nothing_is_measured(cache, engines, monkeypatch):
    del engines[0]["onnxruntime"]
    assert choose(PACKAGE, **ASKED) == Choice(engine="openvino", precision="f32", threads=1)
    assert choose(PACKAGE, **ASKED | {"device": "GPU.0"}).engine == "openvino"
    assert engines[1] == []
    assert not cache.exists()


def test_half_the_cores_are_tried_where_there_are_many(cache, engines, monkeypatch):
    seen = []
    monkeypatch.setattr(auto_backend, "_built", lambda package, device, choice, lanes: seen.append(choice.threads))
    monkeypatch.setattr(auto_backend, "usable_cores", lambda: 16)
    choose(PACKAGE, **ASKED | {"threads": None})
    assert set(seen) == {16, 8}


def test_a_library_that_does_not_run_the_model_so_is_left_out(cache, engines, monkeypatch):
    broken = {"onnxruntime"}

    def built(package, device, choice, lanes):
        if choice.engine in broken:
            raise ModelError(f"no {choice.engine} here")

    monkeypatch.setattr(auto_backend, "_built", built)
    assert choose(PACKAGE, **ASKED).engine == "openvino"
    broken.add("openvino")
    with pytest.raises(ModelError, match="no onnxruntime here"):
        choose(PACKAGE, **ASKED | {"lanes": 3})


def test_a_real_measurement_is_short_and_says_the_truth(cache):
    choice = choose(PACKAGE, **ASKED)
    assert choice.engine in ("openvino", "onnxruntime")
    if choice.ms is not None:
        assert choice.ms > 0
        assert json.loads(cache.read_text())
