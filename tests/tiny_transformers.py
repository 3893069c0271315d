"""Small Hugging Face models with random weights, as folders, so that no test needs a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from config.labels import load_labels

SIDE = 64  # pixels that the models see
ADE20K = load_labels("ade20k_objects").names


def _labels(names: Sequence[str]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}


def _segformer(t: Any, labels: dict[str, Any]) -> tuple[Any, Any]:
    config = t.SegformerConfig(
        hidden_sizes=[8] * 4, depths=[1] * 4, num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=16, **labels
    )
    return t.SegformerForSemanticSegmentation(config), t.SegformerImageProcessor(size={"height": SIDE, "width": SIDE})


def _upernet(t: Any, labels: dict[str, Any]) -> tuple[Any, Any]:
    stages = ["stage1", "stage2", "stage3", "stage4"]
    backbone = t.ConvNextConfig(hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, out_features=stages)
    config = t.UperNetConfig(
        backbone_config=backbone, hidden_size=16, auxiliary_channels=8, auxiliary_in_channels=16, **labels
    )
    return t.UperNetForSemanticSegmentation(config), t.SegformerImageProcessor(size={"height": SIDE, "width": SIDE})


def _mask2former(t: Any, labels: dict[str, Any]) -> tuple[Any, Any]:
    stages = ["stage1", "stage2", "stage3", "stage4"]
    backbone = t.SwinConfig(
        image_size=SIDE, embed_dim=8, depths=[1] * 4, num_heads=[1, 1, 2, 2], window_size=4, out_features=stages
    )
    config = t.Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=16,
        encoder_layers=1, decoder_layers=2, num_attention_heads=2, dim_feedforward=16, num_queries=10, **labels
    )  # fmt: skip
    processor = t.Mask2FormerImageProcessor(size={"shortest_edge": SIDE, "longest_edge": 4 * SIDE})
    return t.Mask2FormerForUniversalSegmentation(config), processor


def _eomt(t: Any, labels: dict[str, Any]) -> tuple[Any, Any]:
    config = t.EomtConfig(
        hidden_size=16, num_hidden_layers=3, num_attention_heads=2, image_size=SIDE, patch_size=8, num_blocks=1,
        num_queries=10, num_register_tokens=1, **labels
    )  # fmt: skip
    processor = t.EomtImageProcessor(size={"shortest_edge": SIDE, "longest_edge": None}, do_split_image=True)
    return t.EomtForUniversalSegmentation(config), processor


KINDS: dict[str, Callable[[Any, dict[str, Any]], tuple[Any, Any]]] = {
    "segformer": _segformer,
    "upernet_convnext": _upernet,
    "mask2former": _mask2former,
    "eomt": _eomt,
}


def save_tiny(kind: str, folder: Path, names: Sequence[str] = ADE20K) -> Path:
    """Write a small model of one of `KINDS`, whose outputs have these names, into `folder`."""
    import transformers

    torch.manual_seed(5)
    model, processor = KINDS[kind](transformers, _labels(names))
    with torch.no_grad():
        for key, value in model.named_parameters():
            if value.ndim > 1 and ("class_predictor" in key or "mask" in key):
                value.normal_(std=0.5)  # else every pixel has the same class
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
