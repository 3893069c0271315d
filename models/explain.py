"""Why a scene: where in the picture, how open the gate stood, and which semantic classes carried the decision.

Where: class activation maps (Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016): of a
head that averages features over the places, what each place adds to the scene's logit. For a head of another kind the
gradient takes the place of its weights (Draelos and Carin, "Use HiResCAM instead of Grad-CAM", arXiv 2011.08891),
which gives the same map for a head that averages.

Which classes: occlusion. One class at a time its scores are set to 0, and what follows from the semantics is run again.
The drops of several classes need not add up: a network may know a kitchen by its stove or by its sink.

All of it runs on torch, whatever runs the predictions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from safetensors.torch import load_file
from torch import Tensor

from config.labels import UnknownLabelError
from models.layers.activation import weighted_sum
from models.layers.semantic_stem import Top3
from models.package import ModelPackage
from models.prediction import WHOLE, FloatArray, View
from models.recognizer import Picture, softmax
from models.scene_network import SceneNetwork, build_scene_network, for_classifier
from models.scene_parts import Joined, SceneParts
from models.staged import CropInputs, top3_tensors

__all__ = ["ClassEffect", "Explanation", "explain_joint", "explain_staged"]

_AT_ONCE = 16  # classes that are left out in one batch


@dataclass(frozen=True, slots=True)
class ClassEffect:
    """What becomes of the scene without one semantic class.

    Attributes:
        class_id: ADE20K id, 1..150.
        p_without: probability of the scene once the class's scores are 0.
        drop: by how much that is less than before; negative for a class that spoke against the scene.
    """

    class_id: int
    p_without: float
    drop: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """What speaks for a scene in one picture.

    Attributes:
        scene: its name.
        p: its calibrated probability.
        activation: (h, w) float32, what each place adds to its logit.
        branches: the same of heads on one branch alone ("rgb", "semantic"), where the network has such.
        gate: (h', w') float32 in 0..1, the mean openness of the semantic gate; None without one.
        classes: the effect of each class that was seen, the largest drop first; empty without semantics.
        view: the part of the picture that the maps cover.
    """

    scene: str
    p: float
    activation: FloatArray
    branches: Mapping[str, FloatArray] = field(default_factory=dict)
    gate: FloatArray | None = None
    classes: tuple[ClassEffect, ...] = ()
    view: View = WHOLE


def explain_joint(package: ModelPackage, picture: Picture, scene: str | None = None) -> Explanation:
    """Explain a joint model's decision on a picture (H×W×3 uint8 RGB), from the whole of it.

    Raises:
        UnknownLabelError: there is no such scene.
        ValueError: no such array.
    """
    network = _joint_network(package)
    classifier = network.classifier
    with torch.inference_mode():
        features, segmentation = network.segmenter(torch.from_numpy(package.preprocess(picture))[None])
        scores = for_classifier(segmentation.softmax(1))
        rgb = classifier.head(features)  # type: ignore[operator]
        output = classifier(features, scores)
        index, p = _chosen(package, output.scene, scene)
        chosen = torch.tensor([index])
        semantics = output.semantics
        activation = classifier.activation(output, chosen)  # type: ignore[operator]
        branches = {
            "rgb": weighted_sum(rgb, classifier.fc_rgb.weight[chosen]),  # type: ignore[union-attr,index]
            "semantic": weighted_sum(semantics, classifier.fc_semantic.weight[chosen]),  # type: ignore[union-attr,index]
        }
        ids = network.get_buffer("class_ids").tolist()
        channels = [channel for channel, class_id in enumerate(ids) if class_id > 0]
        without = [
            p_without
            for some in _without_channels(scores, channels)
            for p_without in _probabilities(package, classifier.join(rgb, classifier.semantic(some), some).scene, index)  # type: ignore[operator]
        ]
    return Explanation(
        scene=package.labels[index],
        p=p,
        activation=_array(activation),
        branches={name: _array(found) for name, found in branches.items()},
        gate=_array(output.gate),
        classes=_effects([ids[channel] for channel in channels], without, p),
    )


def explain_staged(
    package: ModelPackage, parts: SceneParts, inputs: CropInputs, label_base: int, scene: str | None = None
) -> Explanation:
    """Explain the decision of a scene network of the reference on the centre crop of a picture.

    Args:
        package: labels and calibration.
        parts: the network, on any device.
        inputs: the crop and its semantics.
        label_base: how a label stands for an ADE20K id: value = id - 1 + base.
        scene: which one; default: the most probable.

    Raises:
        UnknownLabelError: there is no such scene.
    """
    device = next(parts.parameters()).device
    semantics = top3_tensors(inputs, device) if parts.uses_semantics else None
    with torch.inference_mode():
        rgb = parts.rgb(torch.from_numpy(inputs.rgb).to(device)) if parts.uses_rgb else None
        semantic = None if semantics is None else parts.semantic(parts.stem(semantics))
        joined = parts.join(rgb, semantic)
        index, p = _chosen(package, joined.logits, scene)
        activation = parts.activation(joined, torch.tensor([index], device=device))
        features = {"rgb": rgb, "semantic": semantic}
        branches = {
            name: weighted_sum(pooled, head.weight[index : index + 1])
            for name, head in parts.branch_heads.items()
            if (pooled := features[name]) is not None
        }
        without = {} if semantics is None else _without_labels(package, parts, semantics, rgb, index)
    if activation is None:
        activation = _by_gradient(parts, torch.from_numpy(inputs.rgb).to(device), index)
    ids = [label + 1 - label_base for label in without]
    return Explanation(
        scene=package.labels[index],
        p=p,
        activation=_array(activation),
        branches={name: _array(found) for name, found in branches.items()},
        gate=None if joined.gate is None else _array(joined.gate),
        classes=_effects(ids, list(without.values()), p),
        view=inputs.view,
    )


def _joint_network(package: ModelPackage) -> SceneNetwork:
    network = build_scene_network(package.manifest.model_dump())
    network.load_state_dict({key: value.float() for key, value in load_file(package.path("weights")).items()})
    return network.eval()


def _chosen(package: ModelPackage, logits: Tensor, scene: str | None) -> tuple[int, float]:
    """Index and probability of the scene that is asked for, or of the best one; logits (1, C)."""
    if scene is not None and scene not in package.labels:
        raise UnknownLabelError(f"model {package.manifest.name!r} knows no scene {scene!r}; see `models info`")
    index = int(logits.argmax()) if scene is None else package.labels.index(scene)
    return index, _probabilities(package, logits, index)[0]


def _probabilities(package: ModelPackage, logits: Tensor, index: int) -> list[float]:
    """B calibrated probabilities of a scene, of logits (B, C)."""
    calibrated: FloatArray = (logits / package.manifest.calibration.temperature).cpu().numpy()
    found = softmax(calibrated)[:, index]
    return [float(p) for p in found]


def _without_channels(scores: Tensor, channels: list[int]) -> Iterator[Tensor]:
    """Class scores (1, S, h, w) with one channel after the other set to 0, several to a batch."""
    for start in range(0, len(channels), _AT_ONCE):
        left_out = channels[start : start + _AT_ONCE]
        some = scores.repeat(len(left_out), 1, 1, 1)
        some[torch.arange(len(left_out)), left_out] = 0
        yield some


def _without_labels(
    package: ModelPackage, parts: SceneParts, whole: Top3, rgb: Tensor | None, index: int
) -> dict[int, float]:
    """The scene's probability without each label that has a score; the picture's features serve all of them."""
    labels = torch.unique(whole.labels[whole.scores > 0])
    without: list[float] = []
    for some in labels.split(_AT_ONCE) if len(labels) else ():
        without += _probabilities(package, _join_without(parts, whole, rgb, some).logits, index)
    return dict(zip(labels.tolist(), without, strict=True))


def _join_without(parts: SceneParts, whole: Top3, rgb: Tensor | None, labels: Tensor) -> Joined:
    """The scenes of one picture, once for each of `labels` (n,), without that label's scores."""
    kept = whole.scores * (whole.labels != labels[:, None, None, None])
    semantic = parts.semantic(parts.stem(Top3(whole.labels.expand(kept.shape), kept)))
    return parts.join(None if rgb is None else rgb.expand(len(labels), -1, -1, -1), semantic)


def _effects(class_ids: list[int], without: list[float], p: float) -> tuple[ClassEffect, ...]:
    effects = [ClassEffect(i, p_without, p - p_without) for i, p_without in zip(class_ids, without, strict=True)]
    return tuple(sorted(effects, key=lambda effect: (-effect.drop, effect.class_id)))


def _by_gradient(parts: SceneParts, picture: Tensor, index: int) -> Tensor:
    """(1, h, w): the features of the last convolution, each times its effect on the logit, summed over the channels.

    Times the number of places, so that maps of heads that average have the mean of the logit without its bias.
    """
    with torch.enable_grad():
        joined = parts.join(picture.requires_grad_(), None)
        (gradient,) = torch.autograd.grad(joined.logits[0, index], joined.features)
    found: Tensor = (gradient * joined.features.detach()).sum(1) * gradient[0, 0].numel()
    return found


def _array(maps: Tensor) -> FloatArray:
    """The first of (B, h, w)."""
    found: FloatArray = maps[0].cpu().numpy()
    return found
