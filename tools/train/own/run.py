"""Training on own scenes, from top to bottom: pictures, frozen part, classifier, calibration, model, report."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from config.errors import ConfigError
from models.package import ModelPackage, packaged_models
from models.scene_network import SceneNetwork
from streamer.sources.images import read_picture
from tools import metrics
from tools.data.manifest import ManifestError
from tools.export import load_weights, save_weights
from tools.progress import CountProgress
from tools.train.own.calibration import calibrate
from tools.train.own.classifier import ClassifierTraining, Learnt, Settings, scene_logits
from tools.train.own.features import Features, FrozenPart, Rows, compute_features
from tools.train.own.output import MODEL, check_output, check_space, publish, working_folder
from tools.train.own.package import write_graph, write_manifest
from tools.train.own.pictures import OwnPictures, check_counts, few_notes
from tools.train.own.report import Measured, advice, figures_of
from tools.train.own.split import Split, split_entries
from tools.train.own.start import find_start, start_network

Say = Callable[[str], None]

_GRAPH_CHECKS = 8  # pictures on which the graph is compared with torch
_LONGEST_NAME = 64
_ON_DEV = (
    "these pictures also chose the epoch, the temperature and the threshold, so the figures flatter somewhat; a table "
    "with the splits train and val keeps pictures for the figures alone"
)


def train_own_scenes(
    pictures: OwnPictures,
    output: Path,
    *,
    start: str = "scene18",
    name: str | None = None,
    settings: Settings = Settings(),  # noqa: B008 - immutable
    force: bool = False,
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """Teach a joint model the scenes of `pictures`; encoder and segmenter stay, so the class map means what it meant.

    Args:
        pictures: of at least two scenes.
        output: gets `model/` and `report.json`, at the end and whole.
        start: the model to start from, by name or folder.
        name: of the new model; the output folder's unless given.
        settings: of the training.
        force: replace a model that `output` holds.
        say: hears how it goes, a line at a time.

    Returns:
        The content of `report.json`.

    Raises:
        UserError: pictures, a start or an output that cannot be used.
    """
    check_output(output, force, pictures.folder)
    name = _checked_name(name or output.resolve().name)
    package = find_start(start)
    began = time.monotonic()
    with working_folder(output) as work:
        run = _Run(pictures, package, settings, work, say)
        report = {"model": name, "start": start, "start_sha256": package.weights_sha256} | run.train(name)
        report["seconds"] = round(time.monotonic() - began, 1)
        publish(work, output, report)
    return report


class _Run:
    """One training, in a folder of its own."""

    def __init__(self, pictures: OwnPictures, package: ModelPackage, settings: Settings, work: Path, say: Say) -> None:
        self.pictures = pictures
        self.labels = pictures.scenes
        self.package = package
        self.settings = settings
        self.work = work
        self.say = say
        self.entries = pictures.manifest.entries
        self.paths = [pictures.manifest.path(i) for i in range(len(self.entries))]
        torch.manual_seed(settings.seed)  # of the new layers
        self.start = start_network(package, self.labels)

    def train(self, name: str) -> dict[str, Any]:
        """Everything up to the report; the model lies in `work` then."""
        targets = self.pictures.manifest.targets(self.labels)
        for warning in few_notes(dict(sorted(Counter(e.scene for e in self.entries if e.split != "val").items()))):
            self.say(f"warning: {warning}")
        is_val = np.array([entry.split == "val" for entry in self.entries], dtype=bool)
        frozen = FrozenPart(self.start.network, self.package)
        features = self._features(frozen, np.flatnonzero(~is_val), self.settings.views, "train")
        val = self._features(frozen, np.flatnonzero(is_val), 0, "val") if is_val.any() else None
        self._check_readable(features)
        split = split_entries([self.entries[row] for row in features.rows])
        counts = np.bincount(targets[features.rows][split.train], minlength=len(self.labels))
        self.say(f"{len(split.train)} pictures to learn from, {len(split.dev)} in dev to choose and calibrate")

        known = targets[features.rows]
        learnt = ClassifierTraining(self.start, features, known, split.train, split.dev, self.settings).run(self.say)
        network = self._shipped()
        calibration = calibrate(network.classifier, features, split.dev, known[split.dev])
        self._write_model(network, name, features.rows[split.dev], calibration)
        shown, rows = (features, split.dev) if val is None else (val, np.arange(len(val.rows)))
        measured = self._measured(network, shown, rows, targets, calibration["temperature"])
        figures = figures_of(measured, self.labels, counts.tolist(), calibration["unknown_threshold"])
        broken = features.broken | ({} if val is None else val.broken)
        return {
            "measured_on": "dev" if val is None else "val",
            "figures": figures,
            "calibration": calibration,
            "advice": advice(figures),
            "notes": self._notes(features, split, broken, on_dev=val is None),
            "skipped": [{"path": self.entries[row].path, "reason": reason} for row, reason in broken.items()],
            "training": self._training(learnt, split),
        }

    def _features(self, frozen: FrozenPart, rows: Rows, views: int, part: str) -> Features:
        space = len(rows) * (1 + views) * frozen.view_bytes
        check_space(self.work, space)
        self.say(
            f"encoding {len(rows)} pictures ({part}), {1 + views} views each: {space / 1e9:.2f} GB for the time being"
        )
        with CountProgress("encoding", "pictures") as progress:
            features = compute_features(
                frozen, self.paths, rows, views, self.settings.seed, self.work / f"{part}.features", progress
            )
        if not len(features.rows):
            first = next(iter(features.broken.values()))
            root = "" if self.pictures.folder else "; is --root right?"
            raise ManifestError(f"none of the {len(rows)} pictures ({part}) can be read: {first}{root}")
        return features

    def _check_readable(self, features: Features) -> None:
        """The scenes must have pictures enough without those that cannot be read."""
        check_counts(self.labels, [self.entries[row].scene for row in features.rows], self.pictures.manifest.file)

    def _shipped(self) -> SceneNetwork:
        """The network with its weights as they are written, in float16."""
        folder = self.work / MODEL
        folder.mkdir()
        save_weights(self.start.network, folder / "weights.safetensors")
        load_weights(self.start.network, folder / "weights.safetensors")
        return self.start.network.eval()

    def _write_model(self, network: SceneNetwork, name: str, rows: Rows, calibration: dict[str, float]) -> None:
        """Write the graph and the manifest; `rows` are pictures to check the graph on."""
        self.say("writing the model")
        checks = rows[np.linspace(0, len(rows) - 1, min(_GRAPH_CHECKS, len(rows))).astype(np.int64)]
        seen = np.stack([self.package.preprocess(read_picture(self.paths[row])) for row in checks])
        write_graph(network, self.package, self.work / MODEL, seen)
        write_manifest(self.package, self.work / MODEL, name, self.labels, calibration)

    def _measured(
        self, network: SceneNetwork, features: Features, places: Rows, targets: Rows, temperature: float
    ) -> Measured:
        logits = scene_logits(network.classifier, features, places)
        rows = features.rows[places]
        paths = [self.entries[row].path for row in rows]
        return Measured(metrics.softmax(logits, temperature), targets[rows], paths)

    def _notes(self, features: Features, split: Split, broken: dict[int, str], *, on_dev: bool) -> list[str]:
        counts = Counter(self.entries[row].scene for row in features.rows)
        notes = [*self.pictures.notes, *few_notes(dict(sorted(counts.items()))), *split.notes]
        if broken:
            notes.append(f"left out because they cannot be read: {len(broken)}; report.json names them")
        return [*notes, _ON_DEV] if on_dev else notes

    def _training(self, learnt: Learnt, split: Split) -> dict[str, Any]:
        return {
            **dataclasses.asdict(self.settings),
            "train": len(split.train),
            "dev": len(split.dev),
            "best_epoch": learnt.best_epoch,
            "history": learnt.history,
        }


def _checked_name(name: str) -> str:
    if not name or not name.isprintable() or name != name.strip() or len(name) > _LONGEST_NAME:
        raise ConfigError(f"a model cannot be called {name!a}: give a name of printable text with --name")
    if name in packaged_models():
        raise ConfigError(f"{name!r} is the name of a packaged model; give another one with --name")
    return name
