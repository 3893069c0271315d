"""Downloads against a web server with every fault that a real one has."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import numpy as np
import pytest
from http_server import Served, WebServer, redirect, status

from config.errors import UserError
from streamer.errors import OutputError
from tools.zoo import download as downloading
from tools.zoo.download import Downloaded, DownloadError, GoneError, Limits, download
from tools.zoo.first_seen import forget, records_file, seen_before

DATA = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
OTHER = np.random.default_rng(1).bytes(300_000)
QUICK = Limits(connect_s=2.0, read_s=0.3, waits_s=(0.01, 0.02))
ONCE = Limits(connect_s=2.0, read_s=0.3, waits_s=())


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCENE_STREAMER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer() as running:
        yield running


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "out" / "file.bin"


def get(url: str, target: Path, limits: Limits = QUICK, **options) -> Downloaded:
    return download(url, target, limits=limits, **options)


def left_over(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir() if path != target)


def ranges(server: WebServer) -> list[str | None]:
    return [headers.get("Range") for _, headers in server.requests]


# ------------------------------------------------------------------ whole files


def test_a_file_arrives_whole_and_is_recorded(server, target):
    url = server.serve("/file.bin", Served(DATA))
    steps: list[tuple[int, int | None]] = []
    result = get(url, target, progress=lambda done, total: steps.append((done, total)))
    assert target.read_bytes() == DATA
    assert (result.sha256, result.size, result.first_seen, result.fetched) == (SHA256, len(DATA), True, True)
    assert seen_before(url).sha256 == SHA256
    assert steps[-1] == (len(DATA), len(DATA))
    assert left_over(target) == []


def test_a_file_that_is_there_is_not_fetched_again(server, target):
    url = server.serve("/file.bin", Served(DATA))
    get(url, target)
    again = get(url, target)
    assert not again.fetched
    assert len(server.requests) == 1


def test_a_file_of_unknown_length(server, target):
    get(server.serve("/file.bin", Served(DATA, length=False)), target)
    assert target.read_bytes() == DATA


def test_an_empty_file_is_no_hang(server, target):
    assert get(server.serve("/file.bin", Served(b"")), target).size == 0


def test_redirects_are_followed(server, target):
    server.serve("/there.bin", Served(DATA))
    url = server.serve("/here.bin", redirect("/there.bin"))
    get(url, target)
    assert target.read_bytes() == DATA
    assert seen_before(url).sha256 == SHA256


def test_a_mirror_is_recorded_as_what_it_mirrors(server, target, tmp_path):
    public = "http://public.example/file.bin"
    get(server.serve("/file.bin", Served(DATA)), target, recorded_as=public)
    assert seen_before(public).sha256 == SHA256
    with pytest.raises(DownloadError, match="accept-change"):
        get(server.serve("/file.bin", Served(OTHER)), tmp_path / "again.bin", recorded_as=public)


# ------------------------------------------------------------------ going on


def test_a_cut_connection_goes_on_where_it_was(server, target):
    url = server.serve("/file.bin", Served(DATA, cut_after=100_000))
    get(url, target)
    assert target.read_bytes() == DATA
    assert ranges(server) == [None, "bytes=100000-", "bytes=200000-"]
    assert {headers.get("If-Range") for _, headers in server.requests[1:]} == {'"one"'}


def test_a_later_process_goes_on_where_an_earlier_one_was(server, target):
    url = server.serve("/file.bin", Served(DATA, cut_after=100_000), status(503))
    with pytest.raises(DownloadError, match="the same command goes on"):
        get(url, target, ONCE)
    assert left_over(target) == ["file.bin.part", "file.bin.part.json"]
    server.serve("/file.bin", Served(DATA))
    get(url, target)
    assert target.read_bytes() == DATA
    assert ranges(server)[-1] == "bytes=100000-"
    assert left_over(target) == []


def test_a_date_is_as_good_as_an_etag(server, target):
    headers = {"Last-Modified": formatdate(1_600_000_000, usegmt=True)}
    get(server.serve("/file.bin", Served(DATA, etag=None, headers=headers, cut_after=200_000)), target)
    assert target.read_bytes() == DATA
    assert ranges(server) == [None, "bytes=200000-"]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_validator_everything_is_fetched_again(server, target, etag):
    url = server.serve("/file.bin", Served(DATA, etag=etag, cut_after=100_000), Served(DATA, etag=etag))
    get(url, target)
    assert target.read_bytes() == DATA
    assert ranges(server) == [None, None]


def test_a_server_without_ranges_begins_again(server, target):
    url = server.serve("/file.bin", Served(DATA, cut_after=100_000), Served(DATA, ranges=False))
    get(url, target)
    assert target.read_bytes() == DATA
    assert ranges(server) == [None, "bytes=100000-"]


def test_a_server_without_ranges_that_always_cuts_is_given_up(server, target):
    url = server.serve("/file.bin", Served(DATA, ranges=False, cut_after=100_000))
    with pytest.raises(DownloadError, match="cut"):
        get(url, target)
    assert len(server.requests) == 1 + len(QUICK.waits_s)


@pytest.mark.parametrize("honours_if_range", [True, False])
def test_a_file_that_changed_meanwhile_is_never_mixed(server, target, honours_if_range):
    class Careless(Served):
        def _start(self, handler):
            del handler.headers["If-Range"]
            return super()._start(handler)

    kind = Served if honours_if_range else Careless
    url = server.serve("/file.bin", Served(DATA, cut_after=100_000), kind(OTHER, etag='"two"'))
    get(url, target)
    assert target.read_bytes() == OTHER


def test_a_part_larger_than_the_file_begins_again(server, target):
    url = server.serve("/file.bin", status(416), Served(OTHER))
    target.parent.mkdir()
    part = target.with_name("file.bin.part")
    part.write_bytes(DATA)
    origin = {"address": url, "etag": '"one"', "modified": None, "total": None}
    part.with_name("file.bin.part.json").write_text(json.dumps(origin))
    get(url, target)
    assert target.read_bytes() == OTHER
    assert ranges(server) == ["bytes=300000-", None]


def test_a_part_of_another_address_is_not_gone_on_with(server, target):
    url = server.serve("/other.bin", Served(OTHER, cut_after=100_000))
    with pytest.raises(DownloadError):
        get(url, target, Limits(read_s=0.3, waits_s=()))
    get(server.serve("/file.bin", Served(DATA)), target)
    assert target.read_bytes() == DATA


def test_a_part_that_was_whole_needs_no_request(server, target):
    url = server.url + "/file.bin"
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(DATA)
    origin = {"address": url, "etag": '"one"', "modified": None, "total": len(DATA)}
    target.with_name("file.bin.part.json").write_text(json.dumps(origin))
    assert get(url, target).sha256 == SHA256
    assert server.requests == []


def test_a_busy_server_is_asked_again(server, target):
    get(server.serve("/file.bin", status(503), Served(DATA)), target)
    assert target.read_bytes() == DATA


def test_patience_begins_anew_whenever_something_has_arrived(server, target):
    get(server.serve("/file.bin", Served(DATA, cut_after=30_000)), target)
    assert target.read_bytes() == DATA
    assert len(server.requests) == 10 > len(QUICK.waits_s) + 1


# ------------------------------------------------------------------ checksums


def test_a_wrong_checksum_is_not_kept(server, target):
    url = server.serve("/file.bin", Served(OTHER))
    with pytest.raises(DownloadError) as caught:
        get(url, target, sha256=SHA256)
    assert SHA256 in str(caught.value)
    assert hashlib.sha256(OTHER).hexdigest() in str(caught.value)
    assert not target.exists()
    assert left_over(target) == []


def test_a_recorded_checksum_needs_no_first_sight(server, target):
    url = server.serve("/file.bin", Served(DATA))
    assert not get(url, target, sha256=SHA256).first_seen
    assert seen_before(url) is None


def test_a_file_that_differs_from_the_first_one_is_refused(server, target):
    url = server.serve("/file.bin", Served(DATA))
    get(url, target)
    target.unlink()
    server.serve("/file.bin", Served(OTHER))
    with pytest.raises(DownloadError) as caught:
        get(url, target)
    assert SHA256 in str(caught.value)
    assert hashlib.sha256(OTHER).hexdigest() in str(caught.value)
    assert not target.exists()
    get(url, target, accept_change=True)
    assert target.read_bytes() == OTHER
    assert seen_before(url).sha256 == hashlib.sha256(OTHER).hexdigest()


def test_a_file_that_is_there_but_wrong_is_replaced_only_by_a_right_one(server, target):
    url = server.serve("/file.bin", Served(OTHER), Served(DATA))
    target.parent.mkdir()
    target.write_bytes(b"mine")
    with pytest.raises(DownloadError):
        get(url, target, sha256=SHA256)
    assert target.read_bytes() == b"mine"
    get(url, target, sha256=SHA256)
    assert target.read_bytes() == DATA


def test_damaged_records_are_one_clear_line(server, target):
    url = server.serve("/file.bin", Served(DATA))
    get(url, target)
    records_file().write_text("[}")
    with pytest.raises(UserError, match="delete it"):
        get(url, target)


def test_records_can_be_forgotten(server, target):
    url = server.serve("/file.bin", Served(DATA))
    get(url, target)
    forget(url)
    assert seen_before(url) is None


# ------------------------------------------------------------------ faults


def test_a_file_that_is_gone(server, target):
    url = server.url + "/no-such.bin"
    with pytest.raises(GoneError, match="no longer has it") as caught:
        get(url, target)
    assert url in str(caught.value)
    assert left_over(target) == []
    assert len(server.requests) == 1


def test_a_refusal_is_not_asked_again(server, target):
    with pytest.raises(DownloadError, match="403"):
        get(server.serve("/file.bin", status(403)), target)
    assert len(server.requests) == 1


def test_a_redirect_in_a_circle(server, target):
    with pytest.raises(DownloadError, match="circle"):
        get(server.serve("/file.bin", redirect("/file.bin")), target)


def test_a_redirect_out_of_the_web(server, target):
    with pytest.raises(DownloadError, match="http"):
        get(server.serve("/file.bin", redirect("file:///etc/hostname")), target)
    assert left_over(target) == []


@pytest.mark.parametrize("headers", [{"Content-Type": "text/html; charset=utf-8"}, {}])
def test_a_web_page_is_not_the_file(server, target, headers):
    page = Served(b"\n<!DOCTYPE html><title>Please log in</title>", headers=headers)
    with pytest.raises(DownloadError, match="web page"):
        get(server.serve("/file.bin", page), target)
    assert left_over(target) == []


def test_a_server_that_goes_silent(server, target):
    url = server.serve("/file.bin", server.silent_after(DATA[:100_000], len(DATA)))
    with pytest.raises(DownloadError, match=r"nothing arrived for 0\.3 s") as caught:
        get(url, target, ONCE)
    assert "100.0 kB of 300.0 kB" in str(caught.value)


def test_a_server_that_is_not_there(target):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/file.bin"
    with pytest.raises(DownloadError, match="cannot reach"):
        get(url, target)
    assert left_over(target) == []


def test_a_name_that_nobody_knows(target):
    with pytest.raises(DownloadError, match=r"cannot reach http://no-such-host\.invalid/file\.bin"):
        get("http://no-such-host.invalid/file.bin", target)


def test_secrets_in_an_address_reach_no_message_and_no_file(server, target, tmp_path):
    url = server.serve("/file.bin", Served(DATA, cut_after=100_000), status(403)).replace("//", "//me:sesame@")
    with pytest.raises(DownloadError) as caught:
        get(url, target)
    assert "sesame" not in str(caught.value)
    assert server.requests[0][1]["Authorization"].startswith("Basic ")
    server.serve("/file.bin", Served(DATA))
    get(url, target)
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and b"sesame" in p.read_bytes()]


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        get(server.serve("/file.bin", Served(DATA)), tmp_path / "file" / "file.bin")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(server, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(OutputError, match="permission"):
        get(server.serve("/file.bin", Served(DATA)), folder / "file.bin")


# ------------------------------------------------------------------ a full disk


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A disk of 128 kB; `grow(it)` makes it larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", folder], capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def grow(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=2m", disk], check=True)


def test_a_disk_that_is_too_small_is_seen_before_it_is_full(server, small_disk):
    target = small_disk / "file.bin"
    with pytest.raises(OutputError, match=r"300\.0 kB more are needed"):
        get(server.serve("/file.bin", Served(DATA)), target)
    assert list(small_disk.iterdir()) == []


def test_a_disk_that_gets_full_keeps_what_can_be_gone_on_from(server, small_disk):
    target = small_disk / "file.bin"
    url = server.serve("/file.bin", Served(DATA, length=False))
    with pytest.raises(OutputError, match=r"is full.*have arrived and stay"):
        get(url, target)
    grow(small_disk)
    get(url, target)
    assert target.read_bytes() == DATA
    assert ranges(server)[-1].startswith("bytes=")


def test_a_disk_that_gets_full_keeps_nothing_useless(server, small_disk):
    with pytest.raises(OutputError, match="is full"):
        get(server.serve("/file.bin", Served(DATA, length=False, etag=None)), small_disk / "file.bin")
    assert list(small_disk.iterdir()) == []


# ------------------------------------------------------------------ two at a time


def test_two_at_a_time_fetch_once(server, target):
    url = server.serve("/file.bin", server.slowly(DATA, 0.2))
    results: list[Downloaded] = []
    threads = [threading.Thread(target=lambda: results.append(get(url, target, Limits()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(result.fetched for result in results) == [False, False, True]
    assert target.read_bytes() == DATA
    assert len(server.requests) == 1
    assert left_over(target) == []


def test_an_interrupted_download_stays(server, target):
    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    url = server.serve("/file.bin", Served(DATA))
    with pytest.raises(KeyboardInterrupt):
        get(url, target, progress=stop)
    assert left_over(target) == ["file.bin.part", "file.bin.part.json"]
    get(url, target)
    assert target.read_bytes() == DATA
    assert ranges(server)[-1].startswith("bytes=")


def test_the_reasons_are_for_people():
    assert "15 s" in downloading._reason(downloading.httpx.ConnectTimeout(""), Limits())
