"""``fullgraph bench``: the project's own measurements, beside PyG and torch in one run, as dated pages."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.markdown import Markdown

from fullgraph.bench import CASES, ROOT_ONLY, Request, write_report
from fullgraph.cli.manners import with_output
from fullgraph.cli.output import Output
from fullgraph.errors import InputError

_SETTINGS = ("OMP_NUM_THREADS", "MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
"""Environment variables that change what is measured."""

EXAMPLE = "Example: fullgraph bench memory --graph products.npz --out results"


@with_output
def bench(
    cases: Annotated[
        list[str] | None,
        typer.Argument(help=f"{', '.join(CASES)}; default: all but {', '.join(ROOT_ONLY)}"),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="tiny graphs: seconds, and the numbers mean nothing")] = False,
    graph: Annotated[str | None, typer.Option(help="a data set or file instead of the case's own graph")] = None,
    label: Annotated[
        str | None, typer.Option(help="what the pages call that graph", show_default="its name without folders")
    ] = None,
    out: Annotated[Path, typer.Option(help="folder for the pages")] = Path("benchmarks/results"),
    *,
    told: Output,
) -> None:
    """Run benchmark CASES and write OUT/CASE.md (with --quick, OUT/CASE-quick.md)."""
    names = cases or [name for name in CASES if name not in ROOT_ONLY]
    for name in names:
        if name not in CASES:
            raise InputError(f"there is no benchmark of this name; give some of {', '.join(CASES)}: {name}")
    for name in names:
        report = CASES[name](Request(quick=quick, graph=graph, label=label, tell=told.note))
        path = out / f"{name}-quick.md" if quick else out / f"{name}.md"
        write_report(report, path, _command(name, quick=quick, graph=graph, label=label))
        page = path.read_text(encoding="utf-8")
        told.result(Group(Markdown(page), f"wrote {path}"), {"page": str(path), "text": page})


def _command(name: str, *, quick: bool, graph: str | None, label: str | None) -> str:
    """What repeats the case, without the folders of this machine."""
    words = [f"{setting}={os.environ[setting]}" for setting in _SETTINGS if setting in os.environ]
    words += ["fullgraph bench", name]
    if quick:
        words.append("--quick")
    if graph is not None:
        words.append(f"--graph {Path(graph).name}")
    if label is not None:
        words.append(f'--label "{label}"')
    return " ".join(words)
