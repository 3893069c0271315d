from __future__ import annotations

import argparse
import hashlib
import io
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from legacy_pickle import Call, legacy_bytes, write_legacy
from safetensors.torch import save, save_file

from models.checkpoint import read_checkpoint
from models.errors import ModelError

STATE = {"fc.weight": torch.arange(6.0).view(2, 3), "fc.bias": torch.tensor([0.5, -0.5])}


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def write(folder: Path, data: bytes) -> Path:
    path = folder / "checkpoint.pth.tar"
    path.write_bytes(data)
    return path


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
        assert found[key].dtype == value.dtype


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("best", [62.5, np.float64(62.5), torch.tensor(62.5)], ids=["float", "numpy", "tensor"])
def test_the_public_form(tmp_path: Path, zipped: bool, best: Any) -> None:
    content = {"state_dict": OrderedDict(STATE), "epoch": 7, "best_prec1": best, "labels": ["a", "b"]}
    path = write(tmp_path, saved(content, _use_new_zipfile_serialization=zipped))
    checkpoint = read_checkpoint(path)
    assert_same(checkpoint.state, STATE)
    assert checkpoint.meta == {"epoch": 7, "best_prec1": 62.5, "labels": ["a", "b"]}
    assert type(checkpoint.meta["best_prec1"]) is float
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_state_dict_alone(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(write(tmp_path, saved(STATE)))
    assert_same(checkpoint.state, STATE)
    assert checkpoint.meta == {}


def test_safetensors_with_text_for_metadata(tmp_path: Path) -> None:
    path = tmp_path / "any.name"
    save_file(STATE, path, {"epoch": "7", "labels": '["a", "b"]', "format": "pt"})
    checkpoint = read_checkpoint(path)
    assert checkpoint.state.keys() == STATE.keys()
    assert checkpoint.meta == {"epoch": 7, "labels": ["a", "b"], "format": "pt"}


@pytest.mark.parametrize("location", ["cuda:0", "cpu"])
def test_files_of_python_2_and_torch_0_2(tmp_path: Path, location: str) -> None:
    many = {f"layer{i}.weight": torch.full((2,), float(i)) for i in range(300)}  # more than one byte counts
    content = {"epoch": 90, "best_prec1": 54.7, "arch": "caf\xe9", "state_dict": STATE | many, "optimizer": None}
    checkpoint = read_checkpoint(write(tmp_path, legacy_bytes(content, location)))
    assert_same(checkpoint.state, STATE | many)
    assert checkpoint.meta == {"epoch": 90, "best_prec1": 54.7, "arch": "caf\xe9", "optimizer": None}
    assert all(value.device.type == "cpu" for value in checkpoint.state.values())


def test_the_legacy_writer_writes_what_torch_reads() -> None:
    # The fixture itself, by the library that reads such files.
    data = legacy_bytes({"a": torch.arange(3), "b": [1, -2, 70_000, 1 << 40, True, (1.5, None)]})
    content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    assert torch.equal(content["a"], torch.arange(3))
    assert content["b"] == [1, -2, 70_000, 1 << 40, True, (1.5, None)]


def test_names_of_wrappers_and_of_old_densenets(tmp_path: Path) -> None:
    dense = "features.denseblock1.denselayer1"
    old = {
        "features.module.0.weight": torch.ones(1),
        "module.fc.weight": torch.ones(2),
        f"module.{dense}.norm.1.weight": torch.ones(3),
        f"module.{dense}.conv.2.weight": torch.ones(4),
        "submodule.weight": torch.ones(5),
    }
    state = read_checkpoint(write_legacy(tmp_path / "old.pth.tar", old, epoch=1)).state
    names = ["features.0.weight", "fc.weight", f"{dense}.norm1.weight", f"{dense}.conv2.weight", "submodule.weight"]
    assert list(state) == names


def test_batch_norms_get_the_counter_that_old_files_lack(tmp_path: Path) -> None:
    norm = torch.nn.BatchNorm2d(4).state_dict()
    counter = norm.pop("num_batches_tracked")
    state = {f"a.{key}": value for key, value in norm.items()} | norm | {"fc.weight": torch.ones(1)}
    found = read_checkpoint(write(tmp_path, saved(state))).state
    expected = [*(f"a.{key}" for key in norm), "a.num_batches_tracked", *norm, "num_batches_tracked", "fc.weight"]
    assert list(found) == expected
    assert torch.equal(found["num_batches_tracked"], counter)
    assert found["num_batches_tracked"].dtype == counter.dtype


class Runs:
    """A pickle that creates a file when it is obeyed."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return (os.system, (f"touch {self.target}",))


@pytest.mark.parametrize("kind", ["zip", "old", "python 2", "bare 0", "bare 2", "bare 4", "evaluated"])
def test_a_malicious_pickle_does_not_run(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "proof"
    command = f"touch {target}"
    content = {"state_dict": STATE, "epoch": Runs(target)}
    data = {
        "zip": lambda: saved(content),
        "old": lambda: saved(content, _use_new_zipfile_serialization=False),
        "python 2": lambda: legacy_bytes({"state_dict": STATE, "epoch": Call("os", "system", command)}),
        "bare 0": lambda: pickle.dumps(Runs(target), 0),
        "bare 2": lambda: pickle.dumps(Runs(target), 2),
        "bare 4": lambda: pickle.dumps(Runs(target), 4),
        "evaluated": lambda: legacy_bytes({"a": Call("__builtin__", "eval", f"__import__('os').system({command!r})")}),
    }[kind]()
    with pytest.raises(ModelError, match=r"asks for code to be executed \((os|posix)\.system|\(eval\)") as caught:
        read_checkpoint(write(tmp_path, data))
    assert "refused" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not target.exists()


@pytest.mark.parametrize("value", [torch.nn.Linear(2, 2), {"args": argparse.Namespace(lr=1), "state_dict": STATE}])
def test_whole_modules_and_foreign_objects_are_refused_by_name(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ModelError, match=r"(Linear|Namespace)\) and was refused.*state_dict\(\) alone"):
        read_checkpoint(write(tmp_path, saved(value)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"<html>404 Not Found</html>", "no checkpoint of PyTorch"),
        (b"\x00" * 100, "no checkpoint of PyTorch"),
        (saved([1, 2]), "no state dict .* but a list"),
        (saved({}), "a dict with nothing"),
        (saved({"state_dict": {"epoch": 3}}), "'epoch' is no tensor but a int"),
        (saved({"module.a": torch.ones(1), "a": torch.ones(1)}), "names 'a' twice"),
    ],
)
def test_what_is_no_checkpoint(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        read_checkpoint(write(tmp_path, data))
    assert "checkpoint.pth.tar" in str(caught.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no checkpoint"):
        read_checkpoint(tmp_path / "none.pth")
    with pytest.raises(ModelError, match="is a folder"):
        read_checkpoint(tmp_path)
    with pytest.raises(ModelError, match="no regular file"):
        read_checkpoint(Path(os.devnull))
    with pytest.raises(ModelError, match="cannot be read"):
        read_checkpoint(Path("a" * 5000))


def every_form() -> dict[str, bytes]:
    content = {"state_dict": STATE, "epoch": 3}
    return {
        "zip": saved(content),
        "old": saved(content, _use_new_zipfile_serialization=False),
        "python 2": legacy_bytes(content),
        "safetensors": save(STATE),
    }


FORMS = every_form()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(form=st.sampled_from(sorted(FORMS)), share=st.floats(0, 0.999))
def test_a_file_that_is_cut_short_is_said_to_be_so(tmp_path: Path, form: str, share: float) -> None:
    data = FORMS[form]
    with pytest.raises(ModelError, match=r"cut short|is empty|damaged safetensors") as caught:
        read_checkpoint(write(tmp_path, data[: int(share * len(data))]))
    assert "\n" not in str(caught.value)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(form=st.sampled_from(sorted(FORMS)), data=st.data())
def test_damaged_bytes_give_an_error_or_another_number_never_a_crash(tmp_path: Path, form: str, data: Any) -> None:
    content = bytearray(FORMS[form])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        checkpoint = read_checkpoint(write(tmp_path, bytes(content)))
    except ModelError as error:
        assert "\n" not in str(error)
    else:
        assert all(isinstance(value, torch.Tensor) for value in checkpoint.state.values())
