"""Makes the trained two-branch network a model: weights and `model.json`, calibrated on the watched pictures."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from models.package import Calibration, Manifest, ModelFile, NetworkSpec
from tools import metrics
from tools.train.scoring import find_temperature, find_threshold
from tools.train.two_stage.loop import StageTraining
from tools.train.two_stage.stages import network_params

_KNOWN_SHARE = 0.95  # of the watched pictures that stays above `unknown_threshold`


def write_model(training: StageTraining, best: Path, folder: Path) -> None:
    """Write the weights of the checkpoint `best` as a model of the kind "scene" into `folder`.

    The temperature and the threshold are found on the watched pictures' centre crops.
    """
    content = torch.load(best, map_location="cpu", weights_only=True)
    training.network.load_state_dict(content["state_dict"])
    logits = training.watched_logits()
    if not training.machine.processes.is_first:
        return
    targets = training.corpus.watch.targets
    temperature = find_temperature(logits, targets)
    threshold = find_threshold(metrics.softmax(logits, temperature).max(axis=1), _KNOWN_SHARE)
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "weights.safetensors"
    part = weights.with_suffix(".part")
    save_file(content["state_dict"], part, metadata={"format": "pt"})
    part.chmod(0o644)  # it is made for its owner alone, but a model may be everyone's
    part.replace(weights)
    recipe = training.run.recipe
    manifest = Manifest(
        name=recipe.name,
        version=recipe.version,
        classifier=NetworkSpec(
            kind="two_branch", params=network_params(recipe, "both", len(training.corpus.labels)).model_dump()
        ),
        crop=training.corpus.crop,
        labels=training.corpus.labels,
        calibration=Calibration(temperature=temperature, unknown_threshold=threshold),
        files={"weights": ModelFile.of(weights)},
    )
    text = json.dumps(manifest.model_dump(mode="json", exclude_defaults=True), indent=2)
    part = folder / "model.part"
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(folder / "model.json")
