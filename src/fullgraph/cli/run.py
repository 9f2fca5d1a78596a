"""``fullgraph run``: the user's own script on ranks of this machine, which no other machine can talk to."""

import os
import runpy
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from fullgraph.comm.launch import launch
from fullgraph.errors import InputError

EXAMPLE = "Example: fullgraph run --num-ranks 4 train.py --lr 0.01"
OUTPUT_HELP = "folder for what the ranks but the first print, a rank-N.txt each; default runs/NAME-TIME"


def run(
    script: Annotated[Path, typer.Argument(help="a Python file that calls fullgraph.open; what follows is its own")],
    arguments: Annotated[list[str] | None, typer.Argument(help="given to the script", show_default=False)] = None,
    num_ranks: Annotated[int, typer.Option(help="ranks to start on this machine")] = 1,
    output: Annotated[Path | None, typer.Option(help=OUTPUT_HELP)] = None,
) -> None:
    """Run SCRIPT on every rank, as torchrun does, but with all ports on this machine's loopback interface."""
    if not script.is_file():
        raise InputError(f"there is no such script: {script}")
    output = output or Path("runs") / f"{script.stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    if num_ranks > 1:
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--output must be a folder that can be written ({error.strerror}): {output}") from error
    launch(_run_script, script, arguments or [], output, num_ranks=num_ranks)


def _run_script(script: Path, arguments: list[str], output: Path) -> None:
    rank = int(os.environ["RANK"])
    if rank > 0:  # all say the same, and a reader wants it once
        file = os.open(output / f"rank-{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.close(file)
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.resolve().parent))
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as left:
        if left.code:
            raise
    finally:
        sys.stdout.flush()
