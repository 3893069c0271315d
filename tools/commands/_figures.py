"""How the figures of an evaluation are shown to people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from tools.reference_evaluation import ReferenceResult

_LISTED = 80  # scenes that are printed one by one; more are for the table of --output


def print_reference(result: ReferenceResult, values: dict[str, Any]) -> None:
    """Print the figures of a network of the reference; `values` are those of `evaluation_report.result_of`."""
    checkpoint, semantics = values["checkpoint"], values["semantics"]
    made = "" if semantics["source"] == "none" else f", semantics from {semantics['source']}"
    typer.echo(f"{checkpoint['title']}, {values['branch']}, {values['crops']} crop(s) a picture{made}")
    if result.doubt is not None:
        typer.secho("NOT AN ACCURACY: agreement with the labels of pictures that train and val share", bold=True)
    summary = result.evaluation.summary()
    _print_figures(summary)
    absent = values["scenes"] - values["scenes_present"]
    typer.echo(
        f"\nMCA of the reference, absent scenes as 0: {summary['mca_absent_as_zero']:.3f}; scenes absent: {absent}"
    )
    if values["scenes"] <= _LISTED:
        typer.echo("")
        _print_classes(summary)


def print_tables(summary: dict[str, Any]) -> None:
    """Print the figures of a model, `Evaluation.summary`."""
    _print_figures(summary)
    typer.echo(f"\nMCA with absent scenes as 0: {summary['mca_absent_as_zero']:.3f}")
    typer.echo(f"called unknown: {summary['unknown_share']:.1%}\n")
    _print_classes(summary)


def print_robustness(hurt: dict[str, Any], summary: dict[str, Any]) -> None:
    """Print what corruptions cost: `hurt` is `Robustness.summary`, `summary` that of the clean pictures."""
    typer.secho(f"\n{'corruption':<20} {'Top@1':>7} {'MCA':>7} {'loss':>7}  95 % interval", bold=True)
    typer.echo(f"{'none':<20} {summary['top1']:7.3f} {summary['mca']:7.3f}")
    for name, row in hurt["corruptions"].items():
        low, high = row["loss_interval"]
        typer.echo(f"{name:<20} {row['top1']:7.3f} {row['mca']:7.3f} {row['loss']:7.1f}  {low:.1f} to {high:.1f}")
    typer.echo(f"mean loss of Top@1: {hurt['mean_loss']:.1f} points")


def print_unknown(told: dict[str, Any]) -> None:
    """Print how well pictures of no scene are told: `unknown_evaluation.evaluate_unknowns`."""
    typer.secho(f"\n{'pictures of no scene':<20} {'count':>6} {'AUROC':>7} {'called unknown':>15}", bold=True)
    for kind, auroc in told["auroc"].items():
        typer.echo(f"{kind:<20} {told['counts'][kind]:>6} {auroc:7.3f} {told['called'][kind]:15.1%}")
    typer.echo(f"mean AUROC without easy: {told['mean_auroc']:.3f}; known called unknown: {told['known_called']:.1%}")


def _print_figures(summary: dict[str, Any]) -> None:
    head = f"{'':<20} {'count':>6} {'Top@1':>7} {'Top@2':>7} {'Top@5':>7} {'MCA':>7} {'ECE':>7}"
    typer.secho(head, bold=True)
    for name, row in {**summary["sources"], "all": summary}.items():
        figures = " ".join(f"{row[key]:7.3f}" for key in ("top1", "top2", "top5", "mca", "ece"))
        typer.echo(f"{name:<20} {row['count']:>6} {figures}")
    (low, high), (low_mca, high_mca) = summary["top1_interval"], summary["mca_interval"]
    typer.echo(f"95 % interval: Top@1 {low:.3f} to {high:.3f}, MCA {low_mca:.3f} to {high_mca:.3f}")


def _print_classes(summary: dict[str, Any]) -> None:
    typer.secho(f"{'scene':<20} {'count':>6} {'Top@1':>7}", bold=True)
    for label, row in summary["classes"].items():
        share = "      -" if row["top1"] is None else f"{row['top1']:7.3f}"
        typer.echo(f"{label:<20} {row['count']:>6} {share}")
