"""Every format of a timeline is read back by its usual reader, and says what the labels say."""

from __future__ import annotations

import csv
import json
import logging
import re
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import webvtt
from clips import make_clip
from clips import packets as clip_packets
from label_files import UNKNOWN, label, labels, write_labels, write_video
from scene_states import gradual

from config.labels.scene_colours import UNKNOWN as GREY
from config.labels.scene_colours import scene_colours
from streamer.errors import ConfigError, LabelFileError, OutputError, SourceError, UnknownPluginError
from streamer.sinks.base import Target
from tools.commands import run_command_line
from tools.timeline.chapters import add_chapters
from tools.timeline.formats import FORMATS
from tools.timeline.formats.edl import reel_name
from tools.timeline.formats.ffmetadata import escaped as escaped_metadata
from tools.timeline.formats.html import page_data
from tools.timeline.formats.strip import BAND, MARGIN, WIDTH, draw_strip, place
from tools.timeline.formats.vtt import escaped as escaped_cue
from tools.timeline.recording import read_recording
from tools.timeline.writing import format_names, stem_of, write_recording, write_timeline_files

SCENES = ["kitchen"] * 30 + [UNKNOWN] * 10 + ["street"] * 40 + ["kitchen"] * 20
SPANS = [("Kitchen", 0.0, 1.2), ("Unknown", 1.2, 1.6), ("Street", 1.6, 3.2), ("Kitchen", 3.2, 4.0)]
CUT = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`clip.mp4`, four seconds at 25 frames a second, and its labels."""
    folder = tmp_path_factory.mktemp("recording")
    bodies = [label(scene, i, cut=i == CUT) for i, scene in enumerate(SCENES)]
    write_labels(folder / "clip.labels.jsonl", bodies)
    write_video(folder / "clip.mp4", range(100))
    return folder


@pytest.fixture(scope="module")
def files(folder):
    """The files of all formats, by their ending."""
    paths = write_timeline_files(
        folder / "clip.labels.jsonl", folder / "clip.mp4", folder / "out", "clip", format_names("all")
    )
    assert sorted(paths) == sorted((folder / "out").iterdir())
    return {path.name.removeprefix("clip."): path for path in paths}


def near(spans):
    return [(name, pytest.approx(start), pytest.approx(end)) for name, start, end in spans]


# --------------------------------------------------------------------- readers


def test_csv(files):
    with files["timeline.csv"].open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    found = [(row["scene"], float(row["start_s"]), float(row["end_s"])) for row in rows]
    assert found == near((name.lower(), *times) for name, *times in SPANS)
    assert [row["end"] for row in rows] == ["00:00:01.200", "00:00:01.600", "00:00:03.200", "00:00:04.000"]
    assert [(row["start_pts"], row["time_base"], row["frames"]) for row in rows][2] == ("40", "1/25", "40")
    assert [row["p"] for row in rows] == ["0.7000", "", "0.7000", "0.7000"]
    with files["cuts.csv"].open(newline="", encoding="utf-8") as stream:
        (cut,) = csv.DictReader(stream)
    assert (cut["kind"], cut["frame_id"], cut["time"], cut["time_s"]) == ("hard", str(CUT), "00:00:01.600", "1.600000")
    assert cut["start"] == cut["start_s"] == cut["start_frame_id"] == cut["start_pts"] == ""


def test_a_dissolve_stands_where_it_was(tmp_path):
    told = label("street", 70, transition=gradual("dissolve", 25, 50))
    bodies = [told if i == 70 else label("kitchen" if i < 60 else "street", i) for i in range(100)]
    recording = read_recording(write_labels(tmp_path / "clip.labels.jsonl", bodies))
    write_recording(recording, tmp_path, "clip", ["csv", "json"])
    with (tmp_path / "clip.cuts.csv").open(newline="", encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["kind"], row["time"], row["start"]) == ("dissolve", "00:00:02.000", "00:00:01.000")
    assert [row[key] for key in ("frame_id", "pts", "start_frame_id", "start_pts")] == ["50", "50", "25", "25"]
    (cut,) = json.loads((tmp_path / "clip.timeline.json").read_text())["cuts"]
    assert (cut["kind"], cut["s"], cut["at_s"], cut["start_s"], cut["start_at_s"]) == ("dissolve", 2.0, 2.0, 1.0, 1.0)
    assert page_data(recording, None)["cuts"] == [{"kind": "dissolve", "start_s": 1.0, "end_s": 2.0}]
    # Spans are what the labels say, so their borders stay.
    assert [span.start_pts for span in recording.timeline.spans] == [0, 60]
    strip = draw_strip(recording.timeline, [])
    began, ends = (place(recording.timeline, Fraction(at)) for at in (1, 2))
    line = strip[MARGIN - 1]
    assert (line[began : ends + 1] < 100).all() and (line[: began - 1] == 255).all() and (line[ends + 1 :] == 255).all()


def test_webvtt(files):
    cues = webvtt.read(str(files["chapters.vtt"]))
    found = [(cue.text, cue.start_in_seconds + cue.start_time.milliseconds / 1000) for cue in cues]
    assert found == [(name, pytest.approx(start)) for name, start, _ in SPANS]
    assert [cue.end for cue in cues] == ["00:00:01.200", "00:00:01.600", "00:00:03.200", "00:00:04.000"]
    assert [cue.identifier for cue in cues] == ["1", "2", "3", "4"]


def chapters(path, form=None):
    with av.open(str(path), format=form) as container:
        return [
            (c["metadata"]["title"], float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"]))
            for c in container.chapters()
        ]


def test_ffmetadata(files):
    assert chapters(files["ffmetadata"], "ffmetadata") == near(SPANS)


EVENT = re.compile(
    r"(?P<number>\d{3})  (?P<reel>[A-Z0-9]{1,8}) +V     C        "
    r"(?P<times>(?:\d\d:\d\d:\d\d[:;]\d\d ){3}\d\d:\d\d:\d\d[:;]\d\d)"
)


def events(path):
    """The events of a CMX 3600 list with their comments."""
    text = path.read_bytes().decode("ascii")
    head, *blocks = text.strip().split("\r\n\r\n")
    found = []
    for block in blocks:
        first, *comments = block.split("\r\n")
        match = EVENT.fullmatch(first)
        assert match, first
        found.append((match["number"], match["reel"], match["times"].split(), comments))
    return head.split("\r\n"), found


def test_edl(files):
    head, found = events(files["edl"])
    assert head == ["TITLE: clip", "FCM: NON-DROP FRAME"]
    assert [number for number, *_ in found] == ["001", "002", "003", "004"]
    assert [times for _, _, times, _ in found] == [
        ["00:00:00:00", "00:00:01:05"] * 2,
        ["00:00:01:05", "00:00:01:15"] * 2,
        ["00:00:01:15", "00:00:03:05"] * 2,
        ["00:00:03:05", "00:00:04:00"] * 2,
    ]
    assert {reel for _, reel, _, _ in found} == {"CLIP"}
    assert found[0][3] == ["* FROM CLIP NAME: clip.mp4", "* COMMENT: SCENE Kitchen 0.70"]
    assert found[1][3][1] == "* COMMENT: SCENE Unknown"


def test_json_is_the_one_of_annotate(files, folder, capsys):
    body = json.loads(files["timeline.json"].read_text())
    assert (body["version"], body["frames"], body["source"]["width"]) == (1, 100, 160)
    assert body["model"]["name"] == "scene18"
    assert run_command_line(["summary", str(files["timeline.json"]), "--json"]) == 0
    from_timeline = json.loads(capsys.readouterr().out)
    assert run_command_line(["summary", str(folder / "clip.labels.jsonl"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == from_timeline
    assert from_timeline == json.loads(files["summary.json"].read_text())


def test_strip(files, folder):
    picture = cv2.cvtColor(cv2.imread(str(files["strip.png"])), cv2.COLOR_BGR2RGB)
    assert picture.shape[1] == WIDTH
    timeline = read_recording(folder / "clip.labels.jsonl", folder / "clip.mp4").timeline
    colours = {None: GREY} | scene_colours(["kitchen", "street"])
    band = band_row(picture, colours["kitchen"])
    for span in timeline.spans:
        left, right = place(timeline, span.start), place(timeline, span.end)
        for column in (left + 3, right - 3):
            assert tuple(picture[band, column]) == colours[span.scene]
    assert tuple(picture[band, MARGIN - 1]) == (255, 255, 255)
    # The clip goes from dark to bright, and so do its thumbnails.
    tiles = picture[MARGIN + 20, MARGIN + 30 : WIDTH - MARGIN - 30 : 60].mean(1)
    tiles = tiles[tiles < 250]
    assert len(tiles) > 20 and np.all(np.diff(tiles) >= -1) and tiles[-1] > tiles[0] + 120


def band_row(picture, colour) -> int:
    """A row near the upper edge of the band, where no word stands."""
    rows = np.flatnonzero((picture[:, MARGIN + 3] == colour).all(1))
    assert rows[BAND - 1] - rows[0] == BAND - 1  # the legend has that colour too, further down
    return int(rows[14])


def test_a_strip_without_a_video_is_a_band(folder):
    timeline = read_recording(folder / "clip.labels.jsonl").timeline
    assert tuple(draw_strip(timeline, [])[MARGIN + 2, MARGIN + 2]) == scene_colours(["kitchen"])["kitchen"]


def test_summary(files):
    text = files["summary.txt"].read_text()
    assert "clip: 4.0 s, 100 frames, 4 spans, 1 cuts" in text
    assert json.loads(files["summary.json"].read_text())["transitions"]["scenes"] == ["kitchen", "street", None]
    assert cv2.imread(str(files["summary.png"])).shape[1] > 1000


def test_a_summary_without_matplotlib_has_no_picture(folder, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with caplog.at_level(logging.WARNING):
        write_timeline_files(folder / "clip.labels.jsonl", None, tmp_path, "clip", ["summary"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.summary.json", "clip.summary.txt"]
    assert "clip.summary.png is left out: diagrams need matplotlib: pip install" in caplog.text


@pytest.mark.parametrize("ending", ["mp4", "mkv", "mov"])
def test_chapters_in_a_video(ending, folder, tmp_path):
    video, out = folder / "clip.mp4", tmp_path / f"out.{ending}"
    add_chapters(video, out, read_recording(folder / "clip.labels.jsonl", video).timeline)
    assert chapters(out) == near(SPANS)
    assert packets(out) == packets(video)
    if shutil.which("ffprobe"):
        answer = subprocess.run(
            ["ffprobe", "-v", "error", "-show_chapters", "-of", "json", out], capture_output=True, check=True
        )
        found = json.loads(answer.stdout)["chapters"]
        assert [(c["tags"]["title"], float(c["start_time"]), float(c["end_time"])) for c in found] == near(SPANS)


def packets(path):
    with av.open(str(path)) as container:
        return [
            (packet.pts * packet.time_base, bytes(packet)) for packet in container.demux(video=0) if packet.size > 0
        ]


@pytest.mark.parametrize(("ending", "first"), [("mkv", 1.0), ("mp4", 0.0)])
def test_chapters_of_a_video_that_starts_late_at_a_variable_rate(ending, first, tmp_path):
    pts = [1000 + t for t in (0, 40, 90, 91, 200, 320, 360, 400, 1000, 1040)]
    video = write_video(tmp_path / "late.mp4", pts, Fraction(1, 1000))
    scenes = ["kitchen"] * 4 + ["street"] * 6
    bodies = [label(s, t, time_base=Fraction(1, 1000)) for s, t in zip(scenes, pts, strict=True)]
    recording = read_recording(write_labels(tmp_path / "late.labels.jsonl", bodies), video)
    assert [(float(s.start), float(s.end)) for s in recording.timeline.spans] == [(0.0, 0.2), (0.2, 1.08)]
    out = tmp_path / f"late.{ending}"  # of MP4 the input itself, which is replaced
    add_chapters(video, out, recording.timeline)
    # In the file chapters have the file's clock, as its frames do; in MP4 the first one begins with the movie.
    assert chapters(out) == near([("Kitchen", first, 1.2), ("Street", 1.2, 2.08)])
    with av.open(str(out)) as container:
        assert [frame.pts for frame in container.decode(video=0)] == pts
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".part"]


# ------------------------------------------------------------------- hard cases


def test_several_epochs_follow_each_other(tmp_path):
    bodies = [*labels(["kitchen"] * 5, first=1000), *labels(["street"] * 5, epoch=1), *labels(["street"] * 5, epoch=2)]
    path = write_labels(tmp_path / "cam.labels.jsonl", bodies)
    (out,) = write_timeline_files(path, None, tmp_path, "cam", ["ffmetadata"])
    assert chapters(out, "ffmetadata") == near([("Kitchen", 0, 0.2), ("Street", 0.2, 0.4), ("Street", 0.4, 0.6)])


def test_time_bases_that_have_no_common_tick(tmp_path):
    bodies = [
        *labels(["kitchen"] * 3, time_base=Fraction(1, 30)),
        *labels(["street"] * 2, time_base=Fraction(1, 7), epoch=1),
    ]
    path = write_labels(tmp_path / "cam.labels.jsonl", bodies)
    (out,) = write_timeline_files(path, None, tmp_path, "cam", ["ffmetadata"])
    assert "TIMEBASE=1/1000000" in out.read_text()
    assert chapters(out, "ffmetadata") == near([("Kitchen", 0, 0.1), ("Street", 0.1, 0.1 + 2 / 7)])


def test_one_frame_makes_every_format(tmp_path):
    path = write_labels(tmp_path / "shot.labels.jsonl", [label("kitchen", 7, time_base=Fraction(1, 90_000))])
    files = write_timeline_files(path, None, tmp_path / "out", "shot", FORMATS.names())
    (cue,) = webvtt.read(str(next(file for file in files if file.suffix == ".vtt")))
    assert (cue.start, cue.end) == ("00:00:00.000", "00:00:00.001")


def test_drop_frame_list(tmp_path):
    rate = Fraction(30_000, 1001)
    bodies = labels(["kitchen"] * 1800 + ["street"] * 3, time_base=1 / rate)
    path = write_labels(tmp_path / "ntsc.labels.jsonl", bodies)
    (out,) = write_timeline_files(path, None, tmp_path, "ntsc", ["edl"])
    head, found = events(out)
    assert head[1] == "FCM: DROP FRAME"
    assert [times[:2] for _, _, times, _ in found] == [["00:00:00;00", "00:01:00;02"], ["00:01:00;02", "00:01:00;05"]]


def test_more_spans_than_an_edit_list_holds(tmp_path):
    path = write_labels(tmp_path / "flicker.labels.jsonl", labels(["kitchen", "street"] * 500))
    files = write_timeline_files(path, None, tmp_path, "flicker", ["edl"])
    assert [file.name for file in files] == ["flicker.edl", "flicker.2.edl"]
    (_, first), (_, second) = map(events, files)
    assert [number for number, *_ in (first[-1], *second)] == ["999", "001"]
    assert second[0][2] == ["00:00:39:24", "00:00:40:00"] * 2


def test_timecode_starts_again_after_a_day(tmp_path):
    path = write_labels(tmp_path / "days.labels.jsonl", [label("kitchen", 0), label("street", 25 * 90_000)])
    (out,) = write_timeline_files(path, None, tmp_path, "days", ["edl"])
    assert events(out)[1][0][2][:2] == ["00:00:00:00", "01:00:00:00"]


@pytest.mark.parametrize("text", ["a=b;c#d\\e", "two\nlines", "plain", "=", "a\\b"])
def test_metadata_is_escaped(text, tmp_path):
    path = tmp_path / "x.ffmetadata"
    path.write_text(f";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=1\ntitle={escaped_metadata(text)}\n")
    assert chapters(path, "ffmetadata") == [(text, 0.0, 1.0)]


def test_a_title_that_ends_in_a_backslash_swallows_no_line(tmp_path):
    path = tmp_path / "x.ffmetadata"
    title = escaped_metadata("a\\")
    path.write_text(f";FFMETADATA1\n[CHAPTER]\nSTART=0\nEND=1\ntitle={title}\ncomment=b\n")
    with av.open(str(path), format="ffmetadata") as container:
        assert container.chapters()[0]["metadata"] == {"title": "a\\ ", "comment": "b"}


def test_cues_are_escaped():
    assert escaped_cue("a <b> & c\n--> d") == "a &lt;b&gt; &amp; c --&gt; d"


def test_names_of_reels():
    assert [reel_name(n) for n in ("walk.annotated.mp4", "kitchen-2.mp4", "Ü.mp4")] == ["WALKANNO", "KITCHEN2", "AX"]


# --------------------------------------------------------------------- mistakes


def test_labels_of_another_video(folder, tmp_path):
    late = write_video(tmp_path / "late.mp4", range(100, 110))
    with pytest.raises(LabelFileError, match=r"begins 4\.000 s before .*late\.mp4 does"):
        read_recording(folder / "clip.labels.jsonl", late)


def test_times_of_two_runs_in_one_file(tmp_path):
    path = write_labels(tmp_path / "two.jsonl", [*labels(["kitchen"] * 3), *labels(["street"] * 3)])
    with pytest.raises(LabelFileError, match=r"two\.jsonl line 4: pts 0 comes after 2"):
        read_recording(path)


def test_videos_that_are_none(folder, tmp_path):
    labels_file = folder / "clip.labels.jsonl"
    with pytest.raises(SourceError, match="no video at"):
        read_recording(labels_file, tmp_path / "none.mp4")
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    with pytest.raises(SourceError, match=r"text\.mp4"):
        read_recording(labels_file, text)


def test_a_video_that_is_shorter_than_its_labels_still_has_a_strip(folder, tmp_path):
    short = write_video(tmp_path / "clip.mp4", range(30))
    assert write_timeline_files(folder / "clip.labels.jsonl", short, tmp_path, "clip", ["strip"])


def test_chapters_need_a_format_that_has_them(folder, tmp_path):
    timeline = read_recording(folder / "clip.labels.jsonl").timeline
    with pytest.raises(OutputError, match=r"choose \.m4v, \.mkv, \.mov, \.mp4"):
        add_chapters(folder / "clip.mp4", tmp_path / "out.avi", timeline)
    with pytest.raises(SourceError):
        add_chapters(tmp_path / "none.mp4", tmp_path / "out.mp4", timeline)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORMATS.names())
def test_a_folder_that_is_a_file(name, folder, tmp_path):
    (tmp_path / "file").write_text("")
    recording = read_recording(folder / "clip.labels.jsonl", folder / "clip.mp4")
    with pytest.raises(OutputError, match="a file stands where a folder is needed"):
        FORMATS.load(name).write(recording, Target(tmp_path / "file", "clip"))


def test_names_of_formats():
    assert format_names("csv, vtt,csv") == ("csv", "vtt")
    assert set(format_names("all")) == {"csv", "edl", "ffmetadata", "html", "json", "strip", "summary", "vtt"}
    with pytest.raises(UnknownPluginError, match="ffmetadata"):
        format_names("csv,pdf")
    with pytest.raises(ConfigError, match="no format named"):
        format_names(" , ")


# --------------------------------------------------------------------- commands


def test_the_command(folder, tmp_path, capsys):
    arguments = ["timeline", folder / "clip.labels.jsonl", "--video", folder / "clip.mp4", "-o", tmp_path]
    chaptered = tmp_path / "chaptered.mkv"
    assert run_command_line([*map(str, arguments), "--formats", "csv,vtt", "--chapters", str(chaptered)]) == 0
    expected = [tmp_path / name for name in ("clip.timeline.csv", "clip.cuts.csv", "clip.chapters.vtt")]
    assert capsys.readouterr().out.splitlines() == [*map(str, expected), str(chaptered)]
    assert chapters(chaptered) == near(SPANS)


def test_the_summary_command(folder, tmp_path, capsys):
    plot = tmp_path / "plot.png"
    assert run_command_line(["summary", str(folder / "clip.labels.jsonl"), "--plot", str(plot)]) == 0
    assert capsys.readouterr().out.startswith("clip: 4.0 s, 100 frames, 4 spans, 1 cuts\n\nscene ")
    assert cv2.imread(str(plot)) is not None


def test_chapters_need_a_video(folder, tmp_path, capsys):
    arguments = ["timeline", folder / "clip.labels.jsonl", "-o", tmp_path, "--chapters", tmp_path / "x.mp4"]
    assert run_command_line([*map(str, arguments)]) == 2
    assert "--video" in capsys.readouterr().err


def test_stems():
    assert [stem_of(Path(n)) for n in ("a/clip.labels.jsonl", "watched.jsonl", "x.txt")] == ["clip", "watched", "x.txt"]


def test_chapters_leave_everything_else_as_it_is(folder, tmp_path):
    video, out = tmp_path / "words.mkv", tmp_path / "out.mkv"
    make_clip(video, subtitles="subrip", font=b"letters", cover=True)
    add_chapters(video, out, read_recording(folder / "clip.labels.jsonl", folder / "clip.mp4").timeline)
    for kind in ("audio", "subtitle"):
        assert clip_packets(out, kind) == clip_packets(video, kind)
    with av.open(str(video)) as before, av.open(str(out)) as after:
        streams = [
            [(stream.type, stream.disposition, stream.metadata.get("language")) for stream in film.streams]
            for film in (before, after)
        ]
    assert streams[0] == streams[1]
