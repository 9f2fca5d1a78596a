"""``fullgraph run``: the user's own script on ranks of this machine, which no other machine can talk to."""

import runpy
import sys
from pathlib import Path
from typing import Annotated

import typer

from fullgraph.comm.launch import launch
from fullgraph.errors import InputError

EXAMPLE = "Example: fullgraph run --num-ranks 4 train.py --lr 0.01"


def run(
    script: Annotated[Path, typer.Argument(help="a Python file that calls fullgraph.open; what follows is its own")],
    arguments: Annotated[list[str] | None, typer.Argument(help="given to the script", show_default=False)] = None,
    num_ranks: Annotated[int, typer.Option(help="ranks to start on this machine")] = 1,
) -> None:
    """Run SCRIPT on every rank, as torchrun does, but with all ports on this machine's loopback interface."""
    if not script.is_file():
        raise InputError(f"there is no such script: {script}")
    launch(_run_script, script, arguments or [], num_ranks=num_ranks)


def _run_script(script: Path, arguments: list[str]) -> None:
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.resolve().parent))
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as left:
        if left.code:
            raise
