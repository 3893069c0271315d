from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from config.errors import ConfigError
from config.loader import load_settings, presets
from config.schema import Settings
from config.yaml12 import parse_yaml


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "mine.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def complaint(config: str | Path | None, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(config, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_no_config_is_the_schema() -> None:
    assert load_settings() == Settings()


def test_the_preset_default_writes_out_every_default() -> None:
    assert load_settings("default") == Settings()
    path = Path(load_settings.__code__.co_filename).parent / "presets" / "default.yaml"
    assert yaml.safe_load(path.read_text()) == Settings().model_dump(mode="json")


def test_the_presets_are_valid_and_differ() -> None:
    assert {"default", "recording", "rtsp", "webcam"} <= set(presets())
    assert len({load_settings(name).model_dump_json() for name in presets()}) == len(presets())
    assert load_settings("recording").capture.policy == "every"
    assert load_settings("rtsp").capture.policy == load_settings("webcam").capture.policy == "latest"


def test_later_layers_win(tmp_path: Path) -> None:
    path = written(tmp_path, "preset: rtsp\ncapture:\n  read_timeout_s: 7\n")
    settings = load_settings(path, ["capture.read_timeout_s=8", "capture.reconnect=false", "capture.reconnect=true"])
    assert settings.capture.policy == "latest"  # the preset
    assert load_settings(str(path)).capture.read_timeout_s == 7  # the file
    assert settings.capture.read_timeout_s == 8  # --set
    assert settings.capture.reconnect  # the last --set


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n", "capture:\n  # policy: every\n"])
def test_an_empty_file_changes_nothing(tmp_path: Path, text: str) -> None:
    assert load_settings(written(tmp_path, text)) == Settings()


def test_values_are_yaml() -> None:
    settings = load_settings(None, ["smoother={kind: x, params: {a: [1, 2.5]}}", "model.threads=null", "cut.ratio=1e1"])
    assert settings.smoother.params == {"a": [1, 2.5]}
    assert settings.model.threads is None
    assert settings.cut.ratio == 10


def test_off_is_a_word_for_addresses_and_false_for_switches() -> None:
    settings = load_settings(None, ["bus.labels=off", "overlay.legend=off", "capture.reconnect=no"])
    assert settings.bus.labels == "off"
    assert not settings.overlay.legend
    assert not settings.capture.reconnect


def test_a_plain_string_names_a_model_or_a_plugin_in_any_order() -> None:
    for overrides in (["model=mine", "model.threads=2"], ["model.threads=2", "model=mine"]):
        settings = load_settings(None, overrides)
        assert (settings.model.name, settings.model.threads) == ("mine", 2)


def test_another_plugin_does_not_inherit_parameters(tmp_path: Path) -> None:
    path = written(tmp_path, "smoother: {kind: one, params: {x: 1}}")
    assert load_settings(path, ["smoother=two"]).smoother.params == {}
    assert load_settings(path, ["smoother.kind=two"]).smoother.params == {}
    assert load_settings(path, ["smoother.params.y=2"]).smoother.params == {"x": 1, "y": 2}
    assert load_settings(path, ["smoother.params.y=2", "smoother.kind=two"]).smoother.params == {"y": 2}


def test_a_missing_file_lists_the_presets(tmp_path: Path) -> None:
    message = complaint("webcm")
    assert "'webcm'" in message
    assert "default, recording, rtsp, webcam" in message
    assert "missing.yaml" in complaint(tmp_path / "missing.yaml")
    assert "directory" in complaint(tmp_path)
    assert "unknown preset 'rtps'" in complaint(written(tmp_path, "preset: rtps"))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a: [", ["mine.yaml, line 1, column 5"]),
        ("cut:\n  ratio: 1\n  ratio: 2\n", ["mine.yaml, line 3, column 3", "'ratio'", "twice", "line 2"]),
        ("- 1", ["mine.yaml", "mapping", "list"]),
        ("words", ["mapping"]),
        ("polcy: 1", ["unknown key 'polcy'", "'capture.policy'", "known here: "]),
        ("capture:\n  polcy: 1", ["unknown key 'capture.polcy'", "did you mean 'capture.policy'", "max_frames"]),
        ("capture:\n  policy: newest", ["capture.policy = 'newest'", "'auto', 'latest' or 'every'"]),
        ("capture: 3", ["capture = 3", "group of keys", "policy"]),
        ("cut: {threshold: 2}", ["cut.threshold = 2", "less than or equal to 1"]),
        ("1: 2", ["unknown key '1'"]),
        ("<<: {cut: 1}", ["unknown key '<<'"]),
        ("? [a]\n: 1", ["line 1", "unhashable"]),
        ("a: 1\n---\nb: 1", ["single document"]),
        ("a: !!python/object:os.system {}", ["line 1", "tag"]),
        ("a: &a {b: *a}", ["recursive"]),
        ("a: " + "[" * 3000, ["deeply"]),
        ("model: {threads: " + "9" * 5000 + "}", ["mine.yaml"]),
        (b"\x00", ["not readable as YAML"]),
        (b"\xff\xfe\x00", ["not readable as YAML"]),
        (b"\x80abc", ["not readable as YAML"]),
        ("bus: {labels: 'http://me:secret@host'}", ["bus.labels", "***@host", "tcp://"]),
    ],
)
def test_a_faulty_file_says_what_and_where(tmp_path: Path, text: str | bytes, parts: list[str]) -> None:
    message = complaint(written(tmp_path, text))
    assert "mine.yaml" in message
    assert "secret" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("policy", ["--set policy", "KEY=VALUE"]),
        ("=1", ["KEY=VALUE"]),
        ("a..b=1", ["KEY=VALUE"]),
        ("capture.policy.x=1", ["capture.policy is a value ('auto')"]),
        ("model.segmenter.x=1", ["model.segmenter is a value"]),
        ("policy=latest", ["unknown key 'policy'", "did you mean 'capture.policy'"]),
        ("cut.thresold=1", ["did you mean 'cut.threshold'"]),
        ("cut.threshold=[1", ["--set cut.threshold, line 1"]),
        ("cut.threshold=", ["cut.threshold = null"]),
        ("cut.threshold=.nan", ["cut.threshold"]),
        ("cut=3", ["group of keys (enabled"]),
        ("smoother.parms.x=3", ["did you mean 'smoother.params'"]),
        ("preset=rtsp", ["unknown key 'preset'"]),
    ],
)
def test_a_faulty_override_says_what_and_where(override: str, parts: list[str]) -> None:
    message = complaint(None, override)
    assert message.startswith("--set")
    for part in parts:
        assert part in message


def test_an_override_through_an_override_is_refused() -> None:
    assert "a value" in complaint(None, "smoother.params.x=1", "smoother.params.x.y=1")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("Off", "Off"),
        ("true", True),
        ("~", None),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("-0x1", "-0x1"),
        ("0x1f", 31),
        ("-12", -12),
        ("010", 10),
        ("0o10", 8),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("1_000", "1_000"),
        ("'1'", "1"),
        ("[off, 1, {a: no}]", ["off", 1, {"a": "no"}]),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    parsed = parse_yaml(text, "test")
    assert parsed == value
    assert type(parsed) is type(value)
