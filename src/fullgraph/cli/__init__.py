"""The ``fullgraph`` command: the only floor that reads arguments and prints. One file per command."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Annotated, Final

import typer

from fullgraph import __version__
from fullgraph.errors import ours

COMMANDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "partition": "Cut SOURCE into parts and write them to OUT.",
        "info": "Show the nodes, edges, halo rows, edge cut and balance of a partitioned graph.",
        "train": "Train a model on the whole graph SOURCE and write a run folder.",
        "run": "Run SCRIPT on every rank, as torchrun does, but with all ports on this machine's loopback interface.",
        "predict": "Predict every node of GRAPH with the best model of RUN, rows in the original node order.",
        "bench": "Run benchmark CASES and write OUT/CASE.md (with --quick, OUT/CASE-quick.md).",
        "doctor": "Show what decides the speed on this machine, measure for a few seconds, say what is slow and why.",
    }
)
"""What each does. The file of a command is loaded when it is called: most of them need torch, which takes seconds."""


def command_line(*loaded: str) -> typer.Typer:
    """The command line, with the options of the commands in ``loaded``; of the others it knows what they do."""
    app = typer.Typer(
        name="fullgraph",
        help="Train PyTorch Geometric models on whole graphs, cut into parts, without sampling.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name, does in COMMANDS.items():
        if name in loaded:
            file = import_module(f"fullgraph.cli.{name}")
            command: Callable[..., None] = getattr(file, name)
            settings = {"allow_interspersed_args": name != "run"}  # what follows a script is its own
            app.command(epilog=file.EXAMPLE, context_settings=settings)(command)
        else:
            app.command(name, help=does)(_not_loaded)
    return app


def _show_version(asked: bool) -> None:
    if asked:
        print(f"fullgraph {__version__}")
        raise typer.Exit


_VERSION = typer.Option("--version", help="show the version and leave", callback=_show_version, is_eager=True)


def _options(version: Annotated[bool, _VERSION] = False) -> None:
    pass


def _not_loaded() -> None:
    raise AssertionError("a command that is called was not loaded")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends in SystemExit with 0, or the exit code of the error.

    Args:
        arguments: without the program's name; default: the process's own.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    called = [each for each in words if each in COMMANDS][:1]
    try:
        raise SystemExit(command_line(*called)(args=words, prog_name="fullgraph", standalone_mode=False) or 0)
    except typer.TyperException as error:  # words that are no command line
        said = " ".join(error.format_message().split()).rstrip(".")
        if words:
            print(f"InputError: {said}; see: {' '.join(['fullgraph', *called])} --help", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except Exception as error:
        from fullgraph.comm.last_words import record  # torch, which a command that fails has loaded

        known = ours(error)
        if record(known or error) and known is not None:
            print(f"{type(known).__name__}: {known}", file=sys.stderr)
        if known is None:
            raise
        raise SystemExit(known.exit_code) from None
