"""Walkthroughs from end to end: what is written is what was planned; what is measured is what the labels deserve."""

from __future__ import annotations

import json
import threading
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import typer
from fakes import SCENES, brightness, fake_recognizer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import models
from streamer.errors import OutputError
from tools.commands import run_command_line
from tools.commands.walkthrough import walkthrough
from tools.data.manifest import ManifestError, PictureManifest
from tools.walkthrough.dealing import pictures_by_scene
from tools.walkthrough.planning import Wishes, plan
from tools.walkthrough.predicting import measure_video, read_truths, report
from tools.walkthrough.rendering import Film, SensorNoise, blend, picture_reader, render
from tools.walkthrough.truth import TruthError, read_truth, truth_of, truth_path
from tools.walkthrough.writing import write_walkthrough

BRIGHTNESS = {scene: brightness(scene) for scene in ("entrance_hall", "forest", "highway")}


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """Seven grey pictures of each of three scenes, in shapes from a square to a strip."""
    folder = tmp_path_factory.mktemp("pictures")
    lines = ["path,scene,split"]
    for scene, value in BRIGHTNESS.items():
        for i, (width, height) in enumerate([(40, 40), (60, 30), (30, 60), (150, 150), (20, 90), (90, 20), (300, 200)]):
            cv2.imwrite(str(folder / f"{scene}{i}.png"), np.full((height, width, 3), value, np.uint8))
            lines.append(f"{scene}{i}.png,{scene},{'val' if i < 5 else 'train'}")
    file = folder / "scenes.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def small(**changes) -> Wishes:
    return Wishes(**({"segments": 3, "segment_seconds": Fraction(2), "size": (64, 48), "fps": Fraction(10)} | changes))


def write(table: Path, video: Path, wishes: Wishes):
    """Plan and write; the plan and the truth."""
    manifest = PictureManifest.read(table)
    walk = plan(pictures_by_scene(manifest), wishes)
    return walk, write_walkthrough(walk, picture_reader(manifest), video)


def decode(video: Path) -> list[tuple[int, Fraction, np.ndarray]]:
    with av.open(str(video)) as container:
        return [(f.pts, f.time_base, f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]


# --------------------------------------------------------------------- writing


@pytest.mark.parametrize(
    ("fps", "variable"), [(Fraction(10), False), (Fraction(30_000, 1001), False), (Fraction(24), True)]
)
def test_the_file_has_the_frames_of_the_plan_at_their_times(fps, variable, table, tmp_path):
    video = tmp_path / "walk.mp4"
    walk, truth = write(table, video, small(fps=fps, variable_rate=variable))
    frames = decode(video)
    assert [pts for pts, _, _ in frames] == list(walk.pts)
    assert {base for _, base, _ in frames} == {walk.time_base}
    assert {frame.shape for _, _, frame in frames} == {(48, 64, 3)}
    assert len(frames) == truth.frames
    assert read_truth(truth_path(video)) == truth == truth_of(walk)
    assert (len(set(np.diff(walk.pts))) > 5) == variable
    assert sorted(path.name for path in tmp_path.iterdir()) == ["walk.mp4", "walk.truth.json"]


def test_each_frame_shows_the_scene_that_the_truth_tells(table, tmp_path):
    video = tmp_path / "walk.mp4"
    _, truth = write(table, video, small(segments=6))
    for pts, _, frame in decode(video):
        scene = truth.scene_at(pts)
        if scene is not None:  # an exposure that drifts by 0.3 stops changes a value by a tenth
            assert abs(frame.mean() / BRIGHTNESS[scene] - 1) < 0.12


def test_the_same_seed_makes_the_same_frames_and_another_one_others(table):
    manifest = PictureManifest.read(table)
    pictures, read = pictures_by_scene(manifest), picture_reader(manifest)

    def frames(seed: int) -> list[np.ndarray]:
        return [frame for _, _, frame in render(plan(pictures, small(segments=2, seed=seed)), read)]

    first, again, other = frames(1), frames(1), frames(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_a_dissolve_goes_from_one_picture_to_the_next():
    """Black, then white: the share of white grows evenly, and is one half in the midpoint."""
    pictures = {"a": [f"a{i}" for i in range(4)], "b": [f"b{i}" for i in range(4)]}
    walk = plan(pictures, small(segments=2, segment_seconds=Fraction(12), transitions=("dissolve",)))
    (change,) = [t for t in walk.transitions if t.from_scene != t.to_scene]
    white = walk.segments[1].scene

    def read(path: str) -> np.ndarray:
        return np.full((60, 80, 3), 200 if path.startswith(white) else 0, np.uint8)

    seen = {pts * walk.time_base: float(frame.mean()) for pts, _, frame in render(walk, read)}
    inside = [(now, value) for now, value in seen.items() if change.start <= now < change.end]
    assert len(inside) >= 4
    for now, value in inside:
        share = float((now - change.start) / (change.end - change.start))
        assert value == pytest.approx(200 * share, abs=25)
    assert all(value < 5 for now, value in seen.items() if now < change.start)
    assert all(value > 170 for now, value in seen.items() if now >= change.end)


def test_blending():
    black, white = np.zeros((4, 6, 3), np.uint8), np.full((4, 6, 3), 200, np.uint8)
    assert [int(blend(black, white, share)[0, 0, 0]) for share in (0, 0.25, 0.5, 1)] == [0, 50, 100, 200]


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 1000),
    picture=st.tuples(st.integers(1, 400), st.integers(1, 400)),
    size=st.sampled_from([(64, 48), (48, 64), (96, 32)]),
    moment=st.floats(0, 1),
)
def test_a_film_shows_the_picture_and_nothing_else(seed, picture, size, moment):
    """Of a picture without content no frame has any: no bars, no edges; and the window is as sharp as the frame."""
    walk = plan({"a": ["p", "q", "r", "s"]}, small(segments=1, size=size, seed=seed))
    shot = walk.shots[0]
    film = Film(shot, lambda _: np.full((*picture, 3), 90, np.uint8), size, SensorNoise(0, size).of_shot(0))
    now = shot.appears + (shot.gone - shot.appears) * Fraction(moment)
    window = film.window(now)
    frame = film.frame(now, 0).astype(float)
    assert frame.shape == (size[1], size[0], 3)
    assert np.abs(frame - frame.mean()).max() < 8 * shot.camera.noise
    assert 72 < frame.mean() < 102
    assert window.width < 1.5 * size[0] + 2


def test_the_camera_moves_smoothly_over_the_picture():
    """A ramp of grey tells where the window is: it wanders, and never jumps."""
    walk = plan({"a": ["p", "q", "r", "s"]}, small(segments=1, segment_seconds=Fraction(10), size=(160, 90)))
    shot = walk.shots[0]
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (256, 256, 3))
    film = Film(shot, lambda _: np.ascontiguousarray(ramp), (160, 90), SensorNoise(0, (160, 90)).of_shot(0))
    steps = [shot.appears + i * Fraction(1, 25) for i in range(int((shot.gone - shot.appears) * 25))]
    places = np.array([(film.window(now).x, film.window(now).y) for now in steps])
    moves = np.linalg.norm(np.diff(places, axis=0), axis=1)
    assert 0 < moves.mean() < 2
    assert moves.max() < 4


# -------------------------------------------------------------------- mistakes


def test_a_picture_that_cannot_be_read_leaves_nothing(table, tmp_path):
    manifest = PictureManifest.read(table)
    walk = plan(pictures_by_scene(manifest), small())

    def read(path: str) -> np.ndarray:
        if path == walk.shots[6].picture:
            raise ManifestError("broken")
        return picture_reader(manifest)(path)

    video = tmp_path / "walk.mp4"
    video.write_bytes(b"former")
    with pytest.raises(ManifestError, match="broken"):
        write_walkthrough(walk, read, video)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("walk.mp4", b"former")]


def test_interruption_leaves_nothing(table, tmp_path):
    manifest, interrupted = PictureManifest.read(table), threading.Event()
    walk = plan(pictures_by_scene(manifest), small())

    def on_progress(done: int, expected: int | None) -> None:
        assert expected == len(walk.pts)
        if done == 5:
            interrupted.set()

    with pytest.raises(KeyboardInterrupt):
        write_walkthrough(walk, picture_reader(manifest), tmp_path / "walk.mp4", on_progress, interrupted)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way(table, tmp_path):
    (tmp_path / "walk.mp4").mkdir()
    with pytest.raises(OutputError, match="a folder of that name"):
        write(table, tmp_path / "walk.mp4", small())


# ------------------------------------------------------------------- measuring


@pytest.fixture(scope="module")
def video(table, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "walk.mp4"
    write(table, path, small(fps=Fraction(12), variable_rate=True, segments=4))
    return path


def test_networks_that_know_the_scenes_are_always_right(video):
    truth = read_truths([video])[video]
    told: list[tuple[int, int | None]] = []
    measured = measure_video(fake_recognizer(), video, truth, on_progress=lambda *progress: told.append(progress))
    result = report([measured])
    assert measured.frames == truth.frames
    assert told[-1] == (truth.frames, truth.frames)
    assert set(result["scenes"]) == {segment.scene for segment in truth.segments}
    assert result["overall"]["accuracy"] > 0.95  # the exposure may drift over the border to the next brightness
    assert result["overall"]["unknown"] == 0


def test_networks_that_change_their_mind_with_every_frame(video, monkeypatch):
    recognizer = fake_recognizer()
    honest = recognizer.predict
    calls = iter(range(10**6))

    def predict(picture):
        prediction = honest(picture)
        probabilities = np.roll(np.eye(SCENES, dtype=np.float32)[0], next(calls) % 2)
        return type(prediction)(probabilities, prediction.labels)

    monkeypatch.setattr(recognizer, "predict", predict)
    result = report([measure_video(recognizer, video, read_truth(truth_path(video)))])
    assert result["overall"]["flips"] == 1
    assert result["overall"]["accuracy"] == 0
    assert result["overall"]["flips_per_minute"] == pytest.approx(12 * 60, rel=0.25)


def test_a_stride_looks_at_fewer_frames_for_the_same_time(video):
    truth = read_truth(truth_path(video))
    every, third = (measure_video(fake_recognizer(), video, truth, stride) for stride in (1, 3))
    assert third.frames == -(-every.frames // 3)
    seconds = [report([one])["overall"]["seconds"] for one in (every, third)]
    assert seconds[1] == pytest.approx(seconds[0], rel=0.3)


def test_a_truth_of_another_video(video, table, tmp_path):
    other = tmp_path / "other.mp4"
    write(table, other, small(seed=9))
    with pytest.raises(TruthError, match=r"frames = \d+, but .*walk.mp4 has \d+"):
        measure_video(fake_recognizer(), video, read_truth(truth_path(other)))


# --------------------------------------------------------------------- command


@pytest.fixture
def command(monkeypatch):
    """Calls the command with the fake networks; gives its exit code, stdout and stderr."""
    monkeypatch.setattr(models, "load_recognizer", lambda *_, **__: fake_recognizer())
    app = typer.Typer()
    app.add_typer(walkthrough, name="walkthrough")

    def call(*arguments):
        result = CliRunner().invoke(app, ["walkthrough", *map(str, arguments)], catch_exceptions=False)
        return result.exit_code, result.stdout, result.stderr

    return call


SMALL = ("--segments", 2, "--segment-seconds", 2, "--size", "64x48", "--fps", 10)


def test_make_and_measure(command, table, tmp_path):
    one, two = tmp_path / "one.mp4", tmp_path / "two.mp4"
    code, out, err = command(
        "make", "--manifest", table, "-o", one, *SMALL, "--split", "val", "--scenes", "forest,highway"
    )
    assert code == 0
    assert out.split() == [str(one), str(tmp_path / "one.truth.json")]
    assert "2 segments" in err
    code, _, err = command("make", "-m", table, "-o", two, *SMALL, "--segments", 7, "--split", "val", "--variable-rate")
    assert code == 0
    assert "repeat a picture" in err  # five of each scene are not enough
    code, out, _ = command("measure", one, two, "--json")
    result = json.loads(out)
    assert code == 0
    assert (result["model"], result["stride"]) == ("scene18", 1)
    assert [Path(row["video"]) for row in result["videos"]] == [one, two]
    assert result["frames"] == sum(row["frames"] for row in result["videos"])
    code, out, _ = command("measure", one, two, "--stride", 2)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[:5]] == ["scene", *BRIGHTNESS, "all"]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--size", "64"], "640x360"),
        (["--size", "64x47"], "even"),
        (["--size", "9999x48"], "even"),
        (["--fps", "fast"], "30000/1001"),
        (["--fps", "1/0"], "30000/1001"),
        (["--fps", "0"], "30000/1001"),
        (["--transitions", "cut,wipe"], "wipe"),
        (["--transitions", ""], "--transitions"),
        (["--scenes", "forest,,highway"], "--scenes"),
        (["-o", "walk.avi"], "MP4"),
    ],
)
def test_wrong_use_is_one_clear_line(arguments, hint, command, table, tmp_path):
    code, _, err = command("make", "-m", table, "-o", tmp_path / "walk.mp4", *SMALL, *arguments)
    assert code == 2
    assert hint in " ".join(err.split())
    assert list(tmp_path.iterdir()) == []


def fails(capsys, *arguments: object) -> str:
    """The one line that the command line prints as it fails with exit code 1."""
    assert run_command_line(["walkthrough", *map(str, arguments)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_failures_are_one_clear_line(table, video, tmp_path, capsys):
    make = ("make", "-m", table, "-o", tmp_path / "walk.mp4", *SMALL)
    assert "no scene 'moon'; it has entrance_hall, forest, highway" in fails(capsys, *make, "--scenes", "forest,moon")
    assert "too few pictures of 'entrance_hall': 2" in fails(capsys, *make, "--split", "train")
    assert "two scenes or more" in fails(capsys, *make, "--scenes", "forest")
    assert "is --root right?" in fails(capsys, *make, "--root", tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert "no video at" in fails(capsys, "measure", tmp_path / "walk.mp4")
    alone = tmp_path / "alone.mp4"
    alone.write_bytes(video.read_bytes())
    assert "no truth at" in fails(capsys, "measure", alone)
    truth_path(alone).write_text(truth_path(video).read_text().replace('"version": 1', '"version": 7'))
    assert "version = 7" in fails(capsys, "measure", alone)
