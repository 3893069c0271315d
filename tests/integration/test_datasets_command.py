"""Data sets from a web server to their layout: pulled, unpacked with care, checked."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from http_server import Served, WebServer
from paper_data import MiniDataset, write_dataset, write_semantics
from PIL import Image

from config.errors import UnknownPluginError
from streamer.errors import OutputError
from tools.commands import run_command_line
from tools.data.layouts import LAYOUTS, read_layout
from tools.zoo import unpack as unpacking
from tools.zoo.addresses import find_dataset
from tools.zoo.data_check import check_dataset, presence
from tools.zoo.data_pulling import PulledData, pull_dataset
from tools.zoo.download import Limits
from tools.zoo.pulling import Pulling
from tools.zoo.unpack import ArchiveError, unpack

LANDMARKS = {"train", "val", "train.txt"}
SEMANTICS = ("noisy_annotations_RGB", "noisy_scores_RGB")

pytestmark = pytest.mark.usefixtures("logs_as_they_were")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCENE_STREAMER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer() as running:
        yield running


def run(*arguments: object) -> int:
    return run_command_line([str(argument) for argument in arguments])


def pack(source: Path, *, top: str = "", kind: str = "zip", only: tuple[str, ...] = ()) -> bytes:
    """A folder as an archive, under the folder `top`."""
    files = [path for path in sorted(source.rglob("*")) if path.is_file()]
    files = [path for path in files if not only or path.relative_to(source).parts[0] in only]
    data = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(data, "w") as archive:
            for path in files:
                archive.write(path, f"{top}{path.relative_to(source)}")
    else:
        with tarfile.open(fileobj=data, mode="w") as archive:
            for path in files:
                archive.add(path, f"{top}{path.relative_to(source)}")
    return data.getvalue()


def serve(server: WebServer, name: str, data: bytes, kind: str = "dataset", **options) -> str:
    address = find_dataset(name, kind).files[0].address
    server.serve(urlsplit(address).path, Served(data, **options))
    return address


def pull(server: WebServer, name: str, root: Path, *, semantics: bool = False, **options) -> PulledData:
    how = Pulling(mirror=server.url, limits=Limits(read_s=1.0, waits_s=(0.01, 0.01)), **options)
    return pull_dataset(name, root, how, semantics=semantics)


@pytest.fixture
def mini(tmp_path) -> MiniDataset:
    return write_dataset("mit67", tmp_path / "mini")


def leftovers(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if path.name.startswith(".") or path.suffix in (".zip", ".tar")]


# ------------------------------------------------------------------ pull


TOPS = {"ade20k": "ADEChallengeData2016/", "mit67": "", "sun397": "SUN397/", "places365": "places365_standard/"}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_data_set_lands_in_its_layout(server, tmp_path, name):
    mini = write_dataset(name, tmp_path / "mini")
    serve(server, name, pack(mini.root, top=TOPS[name], kind="tar" if name == "places365" else "zip"))
    root = tmp_path / "root"
    pulled = pull(server, name, root)
    assert pulled.lists == ()
    assert pulled.placed == len([path for path in root.rglob("*") if path.is_file()])
    for split in ("train", "val"):
        assert read_layout(name, root, split).entries == read_layout(name, mini.root, split).entries
    assert all(report.good and report.pictures == 6 for report in check_dataset(name, root))
    assert leftovers(root) == []
    assert pull(server, name, root).there == ("pictures",)
    assert len(server.requests) == 1


def test_semantics_join_their_pictures(server, tmp_path):
    mini = write_dataset("places365", tmp_path / "mini")
    write_semantics(mini)
    serve(server, "places365", pack(mini.root, only=("train", "val", "train.txt", "val.txt", mini.layout.names_file)))
    for folder in SEMANTICS:
        shutil.rmtree(mini.root / folder / "train")  # the public archive has those of val only
    serve(server, "places365", pack(mini.root, only=SEMANTICS), "semantics")
    root = tmp_path / "root"
    assert pull(server, "places365", root).there == ()
    pulled = pull(server, "places365", root, semantics=True)
    assert pulled.there == ("pictures",)
    assert pulled.placed == 12
    assert presence(mini.layout, root).semantics == ("val",)
    assert run("datasets", "verify", "places365", "--root", root, "--semantics") == 0
    assert run("datasets", "verify", "places365", "--root", root, "--semantics", "--split", "train") == 1


def test_lists_that_an_archive_lacks_are_made(server, tmp_path, mini):
    serve(server, "mit67", pack(mini.root, only=("train", "val")))
    root = tmp_path / "root"
    made = {path.name for path in pull(server, "mit67", root).lists}
    assert made == {"train.txt", "val.txt", "scene_names.txt"}
    found = {entry.path for entry in read_layout("mit67", root, "val").entries}
    assert found == {entry.path for entry in read_layout("mit67", mini.root, "val").entries}
    assert len(read_layout("mit67", root, "val").labels) == 67


def test_the_official_archive_of_ade20k_names_the_scenes_in_one_list(server, tmp_path):
    mini = write_dataset("ade20k", tmp_path / "mini")
    lists = [mini.root / name for name in mini.layout.lists.values()]
    (mini.root / "sceneCategories.txt").write_text("".join(path.read_text() for path in lists))
    before = {split: read_layout("ade20k", mini.root, split).entries for split in ("train", "val")}
    for path in (*lists, mini.root / mini.layout.names_file):
        path.unlink()
    serve(server, "ade20k", pack(mini.root, top="ADEChallengeData2016/"))
    root = tmp_path / "root"
    assert len(pull(server, "ade20k", root).lists) == 3
    for split, entries in before.items():
        assert read_layout("ade20k", root, split).entries == entries
    assert len(read_layout("ade20k", root, "val").labels) == 1055


def test_what_is_there_stays_unless_forced(server, tmp_path, mini):
    serve(server, "mit67", pack(mini.root))
    root = tmp_path / "root"
    root.mkdir()
    (root / "train.txt").write_text("mine\n")
    assert pull(server, "mit67", root).kept == 1
    assert (root / "train.txt").read_text() == "mine\n"
    assert pull(server, "mit67", root, force=True).kept == 0
    assert (root / "train.txt").read_text() == (mini.root / "train.txt").read_text()


def test_an_archive_that_the_user_put_there_is_unpacked(server, tmp_path, mini):
    root = tmp_path / "root"
    root.mkdir()
    (root / "MITIndoor67.zip").write_bytes(pack(mini.root))
    assert pull(server, "mit67", root, keep=True).placed > 12
    assert server.requests == []
    assert (root / "MITIndoor67.zip").exists()


def test_a_cut_download_of_a_data_set_goes_on(server, tmp_path, mini):
    data = pack(mini.root)
    serve(server, "mit67", data, cut_after=len(data) // 2 + 1)
    pull(server, "mit67", tmp_path / "root")
    assert server.requests[1][1]["Range"] == f"bytes={len(data) // 2 + 1}-"


def test_an_archive_that_is_gone_says_what_to_do(server, tmp_path, capsys):
    code = run("datasets", "pull", "mit67", "--root", tmp_path / "root", "--mirror", server.url)
    err = capsys.readouterr().err
    assert code == 1
    assert err.count("scene-streamer:") == 1
    assert "no longer has it" in err
    assert "MITIndoor67.zip" in err
    assert leftovers(tmp_path / "root") == []


# ------------------------------------------------------------------ unpacking with care


def zip_of(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def tar_of(path: Path, *members: tuple[str | tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def zip_link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("train/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def tar_special(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo("train/link")
    info.type, info.linkname = kind, "/etc/passwd"
    return info


EVIL_NAMES = ["../evil", "train/../../evil", "/tmp/evil", "C:/evil", "C:evil", "..\\evil", "train\\..\\..\\evil"]


@pytest.mark.parametrize("make", [zip_of, tar_of])
@pytest.mark.parametrize("name", EVIL_NAMES)
def test_a_path_that_leads_out_refuses_the_archive(tmp_path, make, name):
    archive = make(tmp_path / "a.bin", ("train/good", b"good"), (name, b"evil"))
    root = tmp_path / "in" / "root"
    with pytest.raises(ArchiveError, match="evil"):
        unpack(archive, root, LANDMARKS)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [archive]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_tar_with_links_or_devices_is_refused(tmp_path, kind):
    archive = tar_of(tmp_path / "a.tar", ("train/good", b"good"), (tar_special(kind), b""))
    with pytest.raises(ArchiveError, match="link or device"):
        unpack(archive, tmp_path / "root", LANDMARKS)
    assert not (tmp_path / "root").exists()


def test_a_zip_with_links_is_refused(tmp_path):
    archive = zip_of(tmp_path / "a.zip", ("train/good", b"good"), (zip_link(), b"/etc/passwd"))
    with pytest.raises(ArchiveError, match="link or device"):
        unpack(archive, tmp_path / "root", LANDMARKS)


def test_a_zip_bomb_is_refused_by_its_stated_size(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train/bomb", bytes(10_000_000))
    usage = shutil.disk_usage(tmp_path)._replace(free=9_000_000)
    monkeypatch.setattr(unpacking.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OutputError, match=r"takes 10\.0 MB more, 9\.0 MB are free"):
        unpack(tmp_path / "bomb.zip", tmp_path / "root", LANDMARKS)


def test_a_member_larger_than_stated_is_damage(tmp_path):
    archive = zip_of(tmp_path / "a.zip", ("train/a", b"x" * 1000))
    raw = archive.read_bytes()
    archive.write_bytes(raw.replace((1000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(archive, tmp_path / "root", LANDMARKS)
    assert not (tmp_path / "root" / "train").exists()


def test_a_wrong_crc_is_damage(tmp_path):
    archive = zip_of(tmp_path / "a.zip", ("train/a", b"x" * 1000))
    archive.write_bytes(archive.read_bytes().replace(b"xxxx", b"xxxy", 1))
    with pytest.raises(ArchiveError, match=r"damaged at train/a.*pull again"):
        unpack(archive, tmp_path / "root", LANDMARKS)


@pytest.mark.parametrize("left", [700, 1536, 2000])
def test_a_tar_that_ends_early_is_damage(tmp_path, left):
    archive = tar_of(tmp_path / "a.tar", ("train/a", b"x" * 512), ("train/b", b"y" * 512))
    archive.write_bytes(archive.read_bytes()[:left])
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(archive, tmp_path / "root", LANDMARKS)


@pytest.mark.parametrize("data", [b"", b"no archive at all"])
def test_no_archive(tmp_path, data):
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(ArchiveError, match="no zip or tar"):
        unpack(tmp_path / "a.zip", tmp_path / "root", LANDMARKS)


def test_an_archive_of_something_else(tmp_path):
    archive = zip_of(tmp_path / "a.zip", ("photos/a.jpg", b"x"))
    with pytest.raises(ArchiveError, match=r"it has photos, but should have train, train\.txt, val"):
        unpack(archive, tmp_path / "root", LANDMARKS)


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path):
    inner = zip_of(tmp_path / "inner.zip", ("train/wrong", b"x")).read_bytes()
    archive = tar_of(tmp_path / "a.tar", ("train/right", b"y"), ("train/inner.zip", inner))
    unpack(archive, tmp_path / "root", LANDMARKS)
    assert sorted(path.name for path in (tmp_path / "root" / "train").iterdir()) == ["inner.zip", "right"]


def test_what_systems_leave_behind_is_left_out(tmp_path):
    rubbish = [("__MACOSX/train/._a", b""), ("train/.DS_Store", b""), ("train/._a", b"")]
    archive = zip_of(tmp_path / "a.zip", ("train/a", b"a"), *rubbish)
    assert unpack(archive, tmp_path / "root", LANDMARKS).placed == 1


@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_an_interrupted_unpacking_goes_on(tmp_path, make, monkeypatch):
    members = [(f"top/train/{i}", bytes([i]) * 1000) for i in range(6)]
    archive, root = make(tmp_path / "a.bin", *members), tmp_path / "root"

    def stop(done: int, total: int | None) -> None:
        if done == 3000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(archive, root, LANDMARKS, progress=stop)
    assert not (root / "train").exists()
    (beside,) = root.iterdir()
    before = {path.name: path.stat().st_mtime_ns for path in beside.rglob("[0-9]")}
    assert sorted(before) == ["0", "1", "2"]
    monkeypatch.setattr(unpacking.shutil, "rmtree", lambda path: None)
    assert unpack(archive, root, LANDMARKS).placed == 6
    after = {path.name: path.stat().st_mtime_ns for path in (root / "train").iterdir()}
    assert before.items() <= after.items()
    assert {path.read_bytes() for path in (root / "train").iterdir()} == {data for _, data in members}


def test_an_interrupted_move_goes_on(tmp_path, monkeypatch):
    archive = zip_of(tmp_path / "a.zip", ("train/a", b"a"), ("val/b", b"b"), ("x/c", b"c"))
    root, moves = tmp_path / "root", []
    real = unpacking._rename

    def stop(path: Path, target: Path) -> None:
        moves.append(target)
        if len(moves) == 2:
            raise KeyboardInterrupt
        real(path, target)

    monkeypatch.setattr(unpacking, "_rename", stop)
    with pytest.raises(KeyboardInterrupt):
        unpack(archive, root, LANDMARKS)
    monkeypatch.setattr(unpacking, "_rename", real)
    unpack(archive, root, LANDMARKS)
    assert sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()) == ["train/a", "val/b", "x/c"]


def test_what_a_former_archive_left_is_not_gone_on_with(tmp_path):
    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    root = tmp_path / "root"
    archive = zip_of(tmp_path / "a.zip", ("train/a", b"old"), ("train/b", b"old"))
    with pytest.raises(KeyboardInterrupt):
        unpack(archive, root, LANDMARKS, progress=stop)
    archive.unlink()
    unpack(zip_of(archive, ("train/a", b"new"), ("train/c", b"new")), root, LANDMARKS)
    assert sorted(path.name for path in root.rglob("*")) == ["a", "c", "train"]
    assert (root / "train" / "a").read_bytes() == b"new"


def test_a_folder_that_is_a_link_to_another_disk_is_filled(tmp_path):
    if not Path("/dev/shm").is_dir():
        pytest.skip("needs a second disk at /dev/shm")
    other = Path("/dev/shm") / f"scene-streamer-{os.getpid()}"
    other.mkdir()
    try:
        root = tmp_path / "root"
        root.mkdir()
        (root / "train").symlink_to(other)
        unpack(zip_of(tmp_path / "a.zip", ("train/a", b"a"), ("train/in/b", b"b")), root, LANDMARKS)
        assert (other / "a").read_bytes() == b"a"
        assert (other / "in" / "b").read_bytes() == b"b"
    finally:
        shutil.rmtree(other)


# ------------------------------------------------------------------ verify and list


def faults(name: str, root: Path, **options) -> list[str]:
    return [fault for report in check_dataset(name, root, **options) for fault in report.faults]


def test_a_whole_data_set_is_good(mini, capsys):
    assert run("datasets", "verify", "mit67", "--root", mini.root) == 0
    assert "good train: 6 listed, 6 pictures" in capsys.readouterr().out


def test_missing_and_empty_pictures_are_named(mini):
    gone, empty = (mini.root / read_layout("mit67", mini.root, "val").entries[i].path for i in (0, 3))
    gone.unlink()
    empty.write_bytes(b"")
    found = faults("mit67", mini.root)
    assert f"{gone} is missing" in found
    assert any(fault.startswith(f"{empty} is empty") for fault in found)
    assert len(found) == 2


@pytest.mark.parametrize("name", ["ade20k", "mit67"])
def test_a_misplaced_picture_is_found(tmp_path, name):
    mini = write_dataset(name, tmp_path / "mini")
    picture = mini.root / read_layout(name, mini.root, "val").entries[0].path
    elsewhere = mini.root / "extra" / picture.parent.name / picture.name
    elsewhere.parent.mkdir(parents=True)
    picture.rename(elsewhere)
    assert faults(name, mini.root) == [f"{picture} is missing; a picture of that name is at {elsewhere}"]


def test_semantics_must_be_there_and_fit(mini):
    files = write_semantics(mini)
    entries = read_layout("mit67", mini.root, "train").entries
    (labels, _), (_, scores), (damaged, _) = (files.paths(entry) for entry in entries[:3])
    labels.unlink()
    Image.new("RGB", (7, 5)).save(scores)
    damaged.write_bytes(b"no picture")
    found = faults("mit67", mini.root, semantics=("train", "val"))
    assert f"{labels} is missing" in found
    assert any(fault.startswith(f"{scores} is 7x5, its picture") for fault in found)
    assert any(fault.startswith(f"{damaged} is no PNG") for fault in found)
    assert len(found) == 3


def test_a_root_that_is_not_there(tmp_path, capsys):
    assert run("datasets", "verify", "mit67", "--root", tmp_path / "none") == 1
    assert "no folder" in capsys.readouterr().err


def test_a_missing_list_is_a_fault_of_its_split(mini, capsys):
    (mini.root / "val.txt").unlink()
    assert run("datasets", "verify", "mit67", "--root", mini.root, "--json") == 1
    train, val = json.loads(capsys.readouterr().out)
    assert train["good"]
    assert "val.txt is missing" in val["faults"][0]


def test_equal_splits_are_told(mini, capsys):
    (mini.root / "val.txt").write_text((mini.root / "train.txt").read_text())
    assert run("datasets", "verify", "mit67", "--root", mini.root) == 0
    assert "beware: train and val have 6 pictures in common" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["pull", "verify"])
def test_an_unknown_data_set_lists_the_known_ones(tmp_path, capsys, command):
    assert run("datasets", command, "no_such", "--root", tmp_path) == 2
    assert "ade20k, mit67, places365, sun397" in capsys.readouterr().err
    with pytest.raises(UnknownPluginError):
        find_dataset("no_such", "semantics")


def test_an_unknown_split(mini, capsys):
    assert run("datasets", "verify", "mit67", "--root", mini.root, "--split", "test") == 2
    assert "train and val" in capsys.readouterr().err


def test_the_list_says_what_is_in_a_folder(mini, capsys):
    write_semantics(mini)
    assert run("datasets", "list", "--root", mini.root, "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["mit67"]["here"] == "yes"
    assert rows["mit67"]["semantics_here"] == ["train", "val"]
    assert {rows[name]["here"] for name in ("ade20k", "places365")} == {"no"}
    assert rows["places365"]["semantic_splits"] == ["val"]
    (mini.root / "val.txt").unlink()
    assert presence(mini.layout, mini.root).missing == ("val.txt",)
    assert run("datasets", "list", "--root", mini.root) == 0
    assert "partly, without val.txt" in capsys.readouterr().out


def test_the_command_line_pulls_and_verifies(server, tmp_path, mini):
    serve(server, "mit67", pack(mini.root))
    here = Path(__file__).resolve().parents[2]
    environment = os.environ | {"PYTHONPATH": str(here), "SCENE_STREAMER_MIRROR": server.url}
    command = [sys.executable, "-m", "tools.cli", "datasets"]
    root = tmp_path / "root"
    for arguments in (["pull", "mit67", "--root", root], ["verify", "mit67", "--root", root]):
        done = subprocess.run([*command, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert "good val: 6 listed, 6 pictures" in done.stdout
