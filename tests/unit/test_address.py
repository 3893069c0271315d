"""Addresses: what kind they are, what the source is called, and that no credentials get out."""

from __future__ import annotations

import os
import string
from fractions import Fraction
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from config.errors import ConfigError
from config.schema import CaptureSettings
from streamer.address import check_name, clean_name, open_source, parse, redact
from streamer.errors import SourceError
from streamer.frame import SOURCE_NAME
from streamer.sources._listing import find_pictures


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "My clip (1).mp4").write_bytes(b"x")
    (tmp_path / "a:b.mp4").write_bytes(b"x")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "no-pictures").mkdir()
    (tmp_path / "no-pictures" / "notes.txt").write_text("x")
    (tmp_path / "shots").mkdir()
    for number in (1, 2, 10):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "shots" / f"f{number}.PNG")
    (tmp_path / "shots" / "notes.txt").write_text("x")
    return tmp_path


@pytest.mark.parametrize(
    ("uri", "kind", "name", "live"),
    [
        ("My clip (1).mp4", "pyav", "My_clip_1_", False),
        ("./a:b.mp4", "pyav", "a_b", False),
        ("a:b.mp4", "pyav", "a_b", False),
        ("shots", "images", "shots", False),
        ("shots/", "images", "shots", False),
        ("shots/*.PNG", "images", "shots", False),
        ("shots/f[12].PNG", "images", "shots", False),
        ("shots/f1.PNG", "images", "f1", False),
        ("0", "opencv", "camera0", True),
        ("/dev/video12", "opencv", "camera12", True),
        ("rtsp://u:p@cam.example:554/x", "pyav", "cam.example", True),
        ("RTSPS://10.0.0.7/x", "pyav", "10.0.0.7", True),
        ("https://example.org/clip.mp4", "pyav", "example.org", False),
        ("rtsp://[::1]:8554/x", "pyav", "_1", True),
        ("synthetic:", "synthetic", "synthetic", False),
        ("synthetic:?realtime=1", "synthetic", "synthetic", True),
    ],
)
@pytest.mark.usefixtures("folder")
def test_parse(uri: str, kind: str, name: str, live: bool) -> None:
    address = parse(uri)
    assert (address.kind, address.name, address.live) == (kind, name, live)


def test_file_uris(folder: Path) -> None:
    address = parse(f"file://{quote(str(folder))}/My%20clip%20%281%29.mp4")
    assert address.uri == str(folder / "My clip (1).mp4")
    with pytest.raises(SourceError, match="three slashes"):
        parse("file://host/clip.mp4")


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("", "needs an address"),
        ("a\0b", "needs an address"),
        ("missing.mp4", r"'missing.mp4' does not exist; a source is a file.*synthetic:"),
        ("user:sesame@cam/live", r"'\*\*\*@cam/live' does not exist"),
        ("empty.mp4", "is empty"),
        ("no-pictures", "holds no pictures"),
        ("shots/*.jpg", "matches no pictures"),
        ("*.mp4", "videos one by one"),
        ("ftp://u:sesame@host/x", r"^unknown kind of source ftp://; known: "),
        ("rtsp://admin:ses/ame@cam/x", "special characters"),
        ("rtsp:///x", "without a proper host"),
        ("http://[::1/x", "without a proper host"),
        ("http://exa mple/x", "without a proper host"),
        ("synthetic:?width", "parameters look like"),
        ("x" * 5000, "does not exist"),
        ("\ud800", "does not exist"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_clear_errors(uri: str, says: str) -> None:
    with pytest.raises(SourceError, match=says) as caught:
        parse(uri)
    assert "\n" not in str(caught.value)
    assert "sesame" not in str(caught.value)


@pytest.mark.skipif(os.getuid() == 0, reason="the administrator may read everything")
def test_no_permission(folder: Path) -> None:
    (folder / "a:b.mp4").chmod(0)
    with pytest.raises(SourceError, match="permission denied"):
        parse("a:b.mp4")


def test_pictures_in_natural_order(folder: Path) -> None:
    names = ["f1.PNG", "f2.PNG", "f10.PNG"]
    assert [p.name for p in find_pictures("shots")] == names
    assert [p.name for p in find_pictures(str(folder / "s*" / "f*"))] == names
    assert [p.name for p in find_pictures("**/*.PNG")] == names


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://admin:s3cret@cam:554/live?x=1", "rtsp://cam:554/live?x=1"),
        ("rtsp://admin:p@ss@cam/live", "rtsp://cam/live"),
        ("http://cam/v?user=a&Password=b&channel=1#t", "http://cam/v?user=***&Password=***&channel=1#t"),
        ("http://cam/v?api%5Fkey=b;q=2", "http://cam/v?api%5Fkey=***;q=2"),
        ("rtsp://cam:554/user=admin_password=tlJw_channel=1.sdp", "rtsp://cam:554/user=***"),
        ("rtsp://admin:12/34@cam/live", "rtsp://cam/live"),
        ("/clips/pass=1@x.mp4", "/clips/pass=1@x.mp4"),
    ],
)
def test_redact(uri: str, shown: str) -> None:
    assert redact(uri) == shown


SECRET = st.text(string.ascii_uppercase + string.digits, min_size=6, max_size=12).map(lambda s: f"QQ{s}ZZ")
KEYS = st.sampled_from(["password", "PASS", "pwd", "token", "api_key", "X-Amz-Signature", "auth", "user", "sessionid"])


@given(user=SECRET, password=SECRET, key=KEYS, value=SECRET, mark=st.sampled_from(["", ":", "@", "!", "$", "*", "+"]))
def test_credentials_never_show(user: str, password: str, key: str, value: str, mark: str) -> None:
    address = parse(f"rtsp://{user}:{password}{mark}@cam.example/live?a=1&{key}={value}&b={mark}")
    for text in (address.redacted, address.name):
        assert user not in text
        assert password not in text
        assert value not in text
    assert address.redacted.startswith("rtsp://cam.example/live?a=1&")
    assert user not in open_source(address.uri, None, CaptureSettings()).uri


@given(st.text())
def test_every_clean_name_is_a_name(text: str) -> None:
    assert SOURCE_NAME.fullmatch(clean_name(text))


@example("~no-such-user/clip", "")
@given(
    st.text(max_size=30).filter(lambda t: "**" not in t),
    st.sampled_from(["", "rtsp://", "http://", "synthetic:", "file://"]),
)
def test_any_text_gives_a_name_or_a_clear_error(text: str, prefix: str) -> None:
    try:
        address = parse(prefix + text)
    except SourceError:
        return
    assert SOURCE_NAME.fullmatch(address.name)


def test_names() -> None:
    assert clean_name("Café 12.final") == "Cafe_12.final"
    assert clean_name("中文") == "source"
    assert clean_name("../../etc") == "_.._etc"
    assert check_name("cam_1.x-y") == "cam_1.x-y"
    for bad in ("", "a/b", "x" * 65, "é", "a b", "a\n"):
        with pytest.raises(SourceError, match="1 to 64"):
            check_name(bad)


@pytest.mark.usefixtures("folder")
def test_open_source_builds_the_plugin() -> None:
    assert open_source("shots", "den", CaptureSettings()).name == "den"
    source = open_source("synthetic:?fps=30000/1001&width=64&height=48&frames=2&seed=3", None, CaptureSettings())
    info = source.open()
    assert (info.frame_rate, info.width, info.height, info.frame_count) == (Fraction(30000, 1001), 64, 48, 2)
    with pytest.raises(SourceError, match="1 to 64"):
        open_source("shots", "a b", CaptureSettings())


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("fraems=3", "fraems.*fps, frames"),
        ("fps=0", "fps"),
        ("fps=1/0", "29.97"),
        ("width=1", "width"),
        ("frames=x", "frames"),
    ],
)
def test_synthetic_parameters_are_checked(query: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        open_source(f"synthetic:?{query}", None, CaptureSettings())
