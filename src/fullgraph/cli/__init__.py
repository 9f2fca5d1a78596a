"""The ``fullgraph`` command: the only floor that reads arguments and prints. One file per command."""

import sys
from collections.abc import Sequence

import typer

from fullgraph.cli import bench, doctor, info, partition, predict, run, train
from fullgraph.comm.last_words import record
from fullgraph.errors import ours

app = typer.Typer(
    name="fullgraph",
    help="Train PyTorch Geometric models on whole graphs, cut into parts, without sampling.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(epilog=partition.EXAMPLE)(partition.partition)
app.command(epilog=info.EXAMPLE)(info.info)
app.command(epilog=train.EXAMPLE)(train.train)
app.command(epilog=run.EXAMPLE, context_settings={"allow_interspersed_args": False})(run.run)
app.command(epilog=predict.EXAMPLE)(predict.predict)
app.command(epilog=bench.EXAMPLE)(bench.bench)
app.command(epilog=doctor.EXAMPLE)(doctor.doctor)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends in SystemExit with 0, or the exit code of the error.

    Args:
        arguments: without the program's name; default: the process's own.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        raise SystemExit(app(args=words, prog_name="fullgraph", standalone_mode=False) or 0)
    except typer.TyperException as error:  # words that are no command line
        command = {each.callback.__name__ for each in app.registered_commands if each.callback} & {*words[:1]}
        said = " ".join(error.format_message().split()).rstrip(".")
        if words:
            print(f"InputError: {said}; see: {' '.join(['fullgraph', *command])} --help", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except Exception as error:
        known = ours(error)
        if record(known or error) and known is not None:
            print(f"{type(known).__name__}: {known}", file=sys.stderr)
        if known is None:
            raise
        raise SystemExit(known.exit_code) from None
