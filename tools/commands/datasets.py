"""`scene-streamer datasets`: the public data sets of the paper."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tools.commands import _options as options
from tools.commands._duplicates import duplicates
from tools.commands._pull import AcceptChange, Mirror, byte_progress
from tools.commands._unknowns import unknowns

if TYPE_CHECKING:
    from tools.zoo.data_check import Progress, SplitReport

datasets = typer.Typer(help="List, fetch and check the public data sets.", no_args_is_help=True)

_SHOWN_FAULTS = 10

_Name = Annotated[str, typer.Argument(metavar="NAME", help="ade20k, mit67, sun397 or places365.")]
_Root = Annotated[Path, typer.Option("--root", metavar="DIR", help="The folder of the data set.")]


@datasets.command("list")
def list_datasets(
    root: Annotated[Path | None, typer.Option("--root", metavar="DIR", help="Say what of them is in DIR.")] = None,
    as_json: options.Json = False,
) -> None:
    """List the data sets: where their pictures and semantics come from, and what is in a folder already."""
    import json

    from tools.data.layouts import LAYOUTS

    reports = [_described(name, root) for name in LAYOUTS]
    if as_json:
        typer.echo(json.dumps(reports))
        return
    for report in reports:
        typer.echo(f"{report['name']:<11}{report['title']}, {report['scenes']} scenes")
        for what in ("pictures", "semantics"):
            covers = "" if len(report["semantic_splits"]) == 2 or what == "pictures" else " (val only)"
            typer.echo(f"{'':<11}{what:<10} {' '.join(report[what])}{covers}")
        typer.echo(f"{'':<11}{'layout':<10} {', '.join(report['layout'])}")
        if root is not None:
            typer.echo(f"{'':<11}{'in ' + str(root)}: {_presence_text(report)}")


@datasets.command("pull")
def pull(
    name: _Name,
    root: _Root,
    semantics: Annotated[bool, typer.Option("--semantics", help="The precomputed semantics too.")] = False,
    mirror: Mirror = None,
    force: Annotated[bool, typer.Option("--force", help="Pull again, and replace files that are there.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the archives.")] = False,
    accept_change: AcceptChange = False,
    as_json: options.Json = False,
) -> None:
    """Fetch a data set and unpack it into DIR; interrupted, the same command goes on where it was."""
    import json

    from tools.zoo.data_pulling import pull_dataset
    from tools.zoo.pulling import Pulling

    how = Pulling(mirror=mirror, force=force, keep=keep, accept_change=accept_change, show=byte_progress)
    pulled = pull_dataset(name, root, how, semantics=semantics)
    if as_json:
        lists = [str(path) for path in pulled.lists]
        report = {"placed": pulled.placed, "kept": pulled.kept, "lists": lists, "there": pulled.there}
        typer.echo(json.dumps({"name": name, "root": str(root)} | report))
        return
    for what in pulled.there:
        typer.echo(f"{name}: its {what} are in {root} already, whole")
    if pulled.placed or pulled.kept:
        stay = f"; {pulled.kept} were there and stay (--force replaces them)" if pulled.kept else ""
        typer.echo(f"{name}: {pulled.placed} files put into {root}{stay}")
    for path in pulled.lists:
        typer.echo(f"{name}: {path} was not in the archive; made from what was")


@datasets.command("verify")
def verify(
    name: _Name,
    root: _Root,
    semantics: Annotated[bool, typer.Option("--semantics", help="Check the precomputed semantics too.")] = False,
    split: Annotated[str | None, typer.Option("--split", metavar="S", help="Only train, or only val.")] = None,
    as_json: options.Json = False,
) -> None:
    """Check that every picture of the lists is where it belongs, and its semantics; exit code 1 if not."""
    import json

    from config.errors import ConfigError
    from tools.data.layouts import SPLITS, overlap
    from tools.zoo.addresses import find_dataset
    from tools.zoo.data_check import check_dataset

    find_dataset(name)
    if split is not None and split not in SPLITS:
        raise ConfigError(f"no split {split!r}; there are {' and '.join(SPLITS)}")
    splits = (split,) if split else SPLITS
    covered = find_dataset(name, "semantics").splits if split is None else splits
    with _bars(name) as bar:
        reports = check_dataset(name, root, splits=splits, semantics=covered if semantics else (), progress=bar)
    good = all(report.good for report in reports)
    shared = overlap(name, root) if good and split is None else None
    if as_json:
        typer.echo(json.dumps([_as_dict(report) for report in reports]))
    else:
        for report in reports:
            _print(report)
        if shared is not None and shared:
            typer.echo(f"beware: train and val have {shared.shared} pictures in common; results on val are no accuracy")
    if not good:
        raise typer.Exit(1)


datasets.command("duplicates")(duplicates)
datasets.command("unknowns")(unknowns)


def _described(name: str, root: Path | None) -> dict[str, Any]:
    from tools.data.layouts import LAYOUTS
    from tools.zoo.addresses import find_dataset
    from tools.zoo.data_check import presence

    layout, semantics = LAYOUTS[name], find_dataset(name, "semantics")
    report: dict[str, Any] = {
        "name": name,
        "title": layout.title,
        "scenes": layout.scenes,
        "pictures": [file.address for file in find_dataset(name).files],
        "semantics": [file.address for file in semantics.files],
        "semantic_splits": list(semantics.splits),
        "layout": [*(f"{f}/" for f in layout.folders.values()), *layout.lists.values(), layout.names_file],
    }
    if root is not None:
        found = presence(layout, root)
        report |= {"here": found.here, "missing": list(found.missing), "semantics_here": list(found.semantics)}
    return report


def _presence_text(report: dict[str, Any]) -> str:
    if report["here"] == "no":
        return "no"
    text = "yes" if report["here"] == "yes" else f"partly, without {', '.join(report['missing'])}"
    semantics = report["semantics_here"]
    return f"{text}; semantics of {' and '.join(semantics)}" if semantics else f"{text}; no semantics"


def _as_dict(report: SplitReport) -> dict[str, Any]:
    described = {"split": report.split, "listed": report.listed, "pictures": report.pictures}
    if report.semantics is not None:
        described["semantics"] = report.semantics
    return described | {"good": report.good, "faults": report.faults}


def _print(report: SplitReport) -> None:
    semantics = "" if report.semantics is None else f", {report.semantics} with semantics"
    mark = "good" if report.good else "BAD "
    typer.echo(f"{mark} {report.split}: {report.listed} listed, {report.pictures} pictures{semantics}")
    for fault in report.faults[:_SHOWN_FAULTS]:
        typer.echo(f"     {fault}")
    if len(report.faults) > _SHOWN_FAULTS:
        typer.echo(f"     and {len(report.faults) - _SHOWN_FAULTS} more; --json has all")


@contextmanager
def _bars(name: str) -> Iterator[Any]:
    """Makes a bar for each split; all end together."""
    from contextlib import ExitStack

    from tools.progress import CountProgress

    with ExitStack() as stack:

        def bar(split: str) -> Progress:
            return stack.enter_context(CountProgress(f"{name} {split}", "pictures"))

        yield bar
