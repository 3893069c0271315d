"""Public models from a web server into the user's folder: converted, checked, and nothing in them executed."""

from __future__ import annotations

import io
import os
import pickle
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import torch
from http_server import Answer, Served, WebServer, status
from legacy_pickle import Call, legacy_bytes
from torch import nn

from config.errors import ConfigError, UnknownPluginError
from models.classifiers.two_branch import SemanticNet
from models.errors import ModelError
from models.package import find_package, user_models
from models.segmenters import build_csail
from tools.zoo.addresses import RemoteFile, addresses, chosen_mirror, find_model, read_addresses
from tools.zoo.download import DownloadError, GoneError, Limits
from tools.zoo.first_seen import seen_before
from tools.zoo.pulling import PulledModel, Pulling, downloads_folder, pull_model

ROOT = Path(__file__).resolve().parents[2]
ADDRESSES = ROOT.parent / "shared" / "reference" / "addresses.txt"
NAME = "semantic-mit67"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SCENE_STREAMER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path / "cache"


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer() as running:
        yield running


def saved(network: nn.Module | None, **more: object) -> bytes:
    data = io.BytesIO()
    if network is None:
        torch.save(more, data)
    else:
        state = {f"module.{key}": value for key, value in network.state_dict().items()}
        torch.save({"state_dict": state, "epoch": 90, "best_prec1": 71.2, **more}, data)
    return data.getvalue()


@pytest.fixture(scope="module")
def checkpoint() -> bytes:
    return saved(SemanticNet(67))


def serve(server: WebServer, name: str, *answers: Answer, file: int = 0) -> str:
    address = find_model(name).files[file].address
    server.serve(urlsplit(address).path, *answers)
    return address


def pull(server: WebServer, name: str, **options) -> PulledModel:
    return pull_model(name, Pulling(mirror=server.url, limits=Limits(read_s=1.0, waits_s=(0.01, 0.01)), **options))


def downloads() -> list[str]:
    return sorted(path.name for path in downloads_folder().rglob("*") if path.is_file())


# ------------------------------------------------------------------ what is pulled


def test_a_model_is_pulled_converted_and_usable(server, checkpoint):
    address = serve(server, NAME, Served(checkpoint, cut_after=len(checkpoint) // 2 + 1))
    pulled = pull(server, NAME)
    assert pulled.fetched
    assert user_models() == [NAME]
    package = find_package(NAME)
    assert package.path("weights").suffix == ".safetensors"
    assert (package.manifest.kind, len(package.labels)) == ("scene", 67)
    assert server.requests[1][1]["Range"].startswith("bytes=")
    assert seen_before(address) is not None
    assert downloads() == ["first-seen.json"]


def test_a_model_that_is_there_is_checked_and_not_fetched_again(server, checkpoint):
    serve(server, NAME, Served(checkpoint))
    pull(server, NAME)
    assert not pull(server, NAME).fetched
    assert len(server.requests) == 1
    weights = find_package(NAME).path("weights")
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(ModelError, match="--force"):
        pull(server, NAME)
    assert pull(server, NAME, force=True).fetched
    assert not pull(server, NAME).fetched


def test_a_download_can_be_kept(server, checkpoint):
    serve(server, NAME, Served(checkpoint))
    pull(server, NAME, keep=True)
    assert downloads() == ["SemBranch_MIT.pth.tar", "first-seen.json"]
    pull(server, NAME, keep=True, force=True)  # from the file that was kept
    assert len(server.requests) == 1


def test_a_segmenter_is_two_files(server):
    network = build_csail("c1_mobilenetv2")
    parts = [network.encoder, network.decoder]
    for index, part in enumerate(parts):
        data = io.BytesIO()
        torch.save(part.state_dict(), data)
        serve(server, "c1_mobilenetv2", *([status(503)] * 3 if index else []), Served(data.getvalue()), file=index)
    with pytest.raises(DownloadError, match="503"):
        pull(server, "c1_mobilenetv2")
    assert user_models() == []
    pull(server, "c1_mobilenetv2")
    assert find_package("c1_mobilenetv2").manifest.kind == "segmenter"
    fetched = [path.rpartition("/")[2] for path, _ in server.requests]
    assert fetched.count("encoder_epoch_20.pth") == 1  # it was there when the decoder was asked for again


def test_two_at_a_time_fetch_once(server, checkpoint):
    serve(server, NAME, server.slowly(checkpoint, 0.2))
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(pull(server, NAME).fetched)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(results) == [False, True]
    assert len(server.requests) == 1


# ------------------------------------------------------------------ what is refused


class Runs:
    """Unpickled carelessly, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.system, (f"touch {self.path}",)


def evil_zip(marker: Path) -> bytes:
    return saved(None, state_dict=Runs(marker))


def evil_pickle(marker: Path) -> bytes:
    return pickle.dumps({"state_dict": Runs(marker)}, protocol=2)


def evil_legacy(marker: Path) -> bytes:
    return legacy_bytes({"state_dict": Call("os", "system", f"touch {marker}")})


@pytest.mark.parametrize("make", [evil_zip, evil_pickle, evil_legacy])
def test_a_malicious_checkpoint_does_not_run(server, tmp_path, make, checkpoint):
    marker = tmp_path / "it-ran"
    address = serve(server, NAME, Served(make(marker)))
    with pytest.raises(DownloadError, match="cannot be used"):
        pull(server, NAME)
    assert not marker.exists()
    assert user_models() == []
    assert downloads() == ["first-seen.json"]
    # Nor does it stand in the way of the real one.
    assert seen_before(address) is None
    serve(server, NAME, Served(checkpoint))
    assert pull(server, NAME).fetched


def test_the_malicious_ones_would_run(tmp_path):
    """The other half of the test above: read without care, they do what they say."""
    marker = tmp_path / "it-ran"
    pickle.loads(evil_pickle(marker))  # noqa: S301
    assert marker.exists()


def test_a_checkpoint_of_something_else_is_refused(server):
    serve(server, NAME, Served(saved(nn.Linear(2, 2))))
    with pytest.raises(DownloadError, match="cannot be used"):
        pull(server, NAME)
    assert user_models() == []


def test_a_changed_file_is_refused_and_the_model_stays(server, checkpoint):
    serve(server, NAME, Served(checkpoint))
    pull(server, NAME)
    before = find_package(NAME).weights_sha256
    serve(server, NAME, Served(saved(SemanticNet(67))))
    with pytest.raises(DownloadError, match="accept-change"):
        pull(server, NAME, force=True)
    assert find_package(NAME).weights_sha256 == before
    pull(server, NAME, force=True, accept_change=True)
    assert find_package(NAME).weights_sha256 != before


def test_a_file_that_is_gone_says_what_to_do(server):
    with pytest.raises(GoneError, match=rf"models import SemBranch_MIT\.pth\.tar --as {NAME}"):
        pull(server, NAME)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UnknownPluginError, match=r"sascene-resnet18-ade20k.*upernet_r50"):
        pull_model("no_such")


def test_the_command_line(server, tmp_path, checkpoint):
    serve(server, NAME, Served(checkpoint))

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tools.cli", "models", *arguments]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)

    done = call("pull", NAME, "--mirror", server.url)
    assert done.returncode == 0, done.stderr
    assert NAME in done.stdout
    assert re.search(r"no SHA-256 is on record; [0-9a-f]{64}", done.stderr)
    wrong = call("pull", NAME, "no_such", "--mirror", server.url)
    assert wrong.returncode == 2
    assert wrong.stderr.count("scene-streamer:") == 1
    assert "upernet_r50" in wrong.stderr


# ------------------------------------------------------------------ the table of addresses


@pytest.mark.skipif(not ADDRESSES.is_file(), reason="needs ../shared/reference/addresses.txt")
def test_all_public_addresses_are_known():
    book = addresses()
    rows = [line.split() for line in ADDRESSES.read_text().splitlines() if line.strip() and line[0] != "#"]
    for kind, name, address in rows:
        found = [file.address for file in getattr(book, kind)[name].files]
        braces = re.search(r"\{(.*)\}", address)
        choices = braces[1].split(",") if braces else [""]
        assert found == [address.replace(braces[0], choice) if braces else address for choice in choices]
    known = sum(len(getattr(book, kind)) for kind in ("checkpoint", "segmenter", "dataset", "semantics"))
    assert known == len(rows)


def test_a_mirror_has_the_same_paths(monkeypatch):
    file = RemoteFile(address="http://public.example/a/b%20c.zip")
    assert file.name == "b c.zip"
    assert file.at(None) == file.address
    assert file.at("https://me:pw@mirror.example:8443/zoo/") == "https://me:pw@mirror.example:8443/zoo/a/b%20c.zip"
    monkeypatch.setenv("SCENE_STREAMER_MIRROR", "https://mirror.example")
    assert chosen_mirror(None) == "https://mirror.example"
    assert chosen_mirror("https://other.example") == "https://other.example"


@pytest.mark.parametrize(
    "mirror", ["mirror.example", "ftp://mirror.example", "https://", "https://m.example/?q=1", "http://["]
)
def test_a_mirror_that_is_none(mirror):
    with pytest.raises(ConfigError, match=r"mirror\.example/zoo"):
        RemoteFile(address="http://public.example/a.zip").at(mirror)


def test_a_wrong_table_says_where(tmp_path):
    table = tmp_path / "addresses.yaml"
    table.write_text("checkpoint: {a: {files: [ftp://x.example/a]}}\nsegmenter: {}\ndataset: {}\nsemantics: {}\n")
    with pytest.raises(ConfigError, match="checkpoint"):
        read_addresses(table)
