"""Every setting of Scene Streamer, with its default, its unit and its bounds. Durations are seconds, never frames."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from config.rules import RuleSettings
from config.section import NotNegative, Positive, Section, Share

Precision = Literal["auto", "f32", "bf16", "f16", "int8"]
Policy = Literal["auto", "latest", "every"]
HeatMap = Literal["off", "gate", "activation"]


class PluginChoice(Section):
    """A plug-in by name, with parameters that the plug-in itself validates. A plain string is the name alone."""

    kind: str
    params: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value


class SemanticsSettings(Section):
    """How a scene network of the reference gets its semantics from a segmenter, live or on the fly."""

    label_base: Literal[0, 1] = Field(0, description="value of a label: ADE20K id - 1 (0) or the id itself (1)")
    eight_bit: bool = Field(True, description="scores rounded to 1/255, as files hold them; false keeps all digits")
    short_sides: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None, min_length=1, description="pixels; the segmenter's scales, averaged; default: the segmenter's own, one"
    )
    working_side: int | None = Field(
        None, ge=32, description="pixels; frames with a larger short side are scaled down to it first; default: never"
    )


class ModelSettings(Section):
    """Which networks run, and on what. A plain string is the model's name."""

    name: str = Field("scene18", description="a packaged or an imported model, or the folder of one")
    backend: str = Field("auto", description="auto, or a backend plug-in: onnxruntime, openvino, torch")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N, or a device name of OpenVINO")
    segmenter: str | None = Field(None, description="who segments for a scene network: scene18, upernet_r50...")
    threads: int | None = Field(None, ge=1, description="CPU threads of the networks; default: all cores")
    precision: Precision = Field(
        "auto",
        description="of the networks: f32, bf16 (CPU, CUDA), f16 (GPU), int8 (of a segmenter that was exported so); "
        "auto: what says the same as f32",
    )
    lanes: int | None = Field(
        None, ge=1, le=64, description="frames in the networks at once; default: one for a live source, else by cores"
    )
    batch: int | None = Field(
        None, ge=1, le=256, description="waiting frames that go together; default: 8 on a GPU, else 1"
    )
    batch_wait_s: NotNegative = Field(0.005, description="how long the first frame of a batch waits for the others")
    semantics: SemanticsSettings = SemanticsSettings()

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class CaptureSettings(Section):
    """How frames come in."""

    policy: Policy = Field("auto", description="latest: freshest frame; every: nothing dropped; auto: by source kind")
    realtime: bool | None = Field(None, description="play recordings at their own speed; default: with `latest` only")
    open_timeout_s: Positive = Field(4.0, description="how long a network source may take to open")
    read_timeout_s: Positive = Field(3.0, description="silence after which a network source counts as lost")
    reconnect: bool = Field(True, description="open a lost live source again instead of ending")
    reconnect_max_s: Positive = Field(30.0, description="longest wait between two attempts to reconnect")
    max_frames: int | None = Field(None, ge=1, description="end a source after that many frames")
    rtsp_transport: Literal["tcp", "udp"] = "tcp"
    hardware_decoding: Literal["auto", "off", "cuda"] = Field(
        "off",
        description="cuda: by an NVIDIA GPU, and the log says so if there is none; auto: by one if there is one",
    )


class CutSettings(Section):
    """Detection of cuts, fades and dissolves by cheap picture differences (see `models.cuts`, `models.transitions`)."""

    enabled: bool = True
    threshold: Share = Field(0.09, description="mean difference of two thumbnails that may be a cut, of full scale")
    ratio: Positive = Field(3.0, description="how many times the recent difference a cut exceeds")
    gradual: bool = Field(True, description="fades and dissolves as well")


class CadenceSettings(Section):
    """Reuse of segmentations while the picture changes little (see `models.cadence`)."""

    enabled: bool | Literal["auto"] = Field("auto", description="auto: for live sources, not for recordings")
    threshold: Share = Field(0.02, description="change since the segmented picture, of full scale")
    max_age_s: Positive = Field(0.5, description="a segmentation older than that is not reused")


class BusSettings(Section):
    """The ZeroMQ sockets. An address of `off` leaves that socket out."""

    labels: str = "tcp://127.0.0.1:5555"
    frames: str = "off"
    encoding: Literal["msgpack", "json"] = "msgpack"
    heartbeat_s: Positive = 1.0
    wait_subscriber_s: NotNegative = Field(0.0, description="hold the first frame until a subscriber is there")

    @field_validator("labels", "frames")
    @classmethod
    def _address(cls, value: str) -> str:
        if value != "off" and not value.startswith(("tcp://", "ipc://", "inproc://")):
            raise ValueError("an address looks like tcp://127.0.0.1:5555, ipc:///path, or off")
        return value


class OverlaySettings(Section):
    """What annotated frames show."""

    tint: Share = Field(0.35, description="strength of the class map's colours over the picture; 0 is off")
    legend: bool = Field(True, description="name the largest classes of the tint")
    heat_map: HeatMap = Field(
        "off",
        description="instead of the tint: gate, where the semantic gate is open; activation, what speaks for the scene",
    )
    runner_ups: int = Field(3, ge=0, le=5, description="scenes listed under the stable one")
    jpeg_quality: int = Field(80, ge=1, le=100)

    @field_validator("heat_map", mode="before")
    @classmethod
    def _switch(cls, value: Any) -> Any:
        return ("off", "gate")[value] if isinstance(value, bool) else value


class Settings(Section):
    """The whole configuration."""

    model: ModelSettings = ModelSettings()
    capture: CaptureSettings = CaptureSettings()
    cut: CutSettings = CutSettings()
    cadence: CadenceSettings = CadenceSettings()
    smoother: PluginChoice = PluginChoice(kind="hidden_markov")
    bus: BusSettings = BusSettings()
    overlay: OverlaySettings = OverlaySettings()
    rules: tuple[RuleSettings, ...] = Field((), description="what happens when (see `config.rules`)")

    @field_validator("rules")
    @classmethod
    def _names_differ(cls, value: tuple[RuleSettings, ...]) -> tuple[RuleSettings, ...]:
        names = [rule.name for rule in value]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two rules are called {name!r}")
        return value
