"""How a command says what it has to say: by a bar on a terminal, lines where it is piped, JSON, or not at all."""

import functools
import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from fullgraph.cli.bar import Bar
from fullgraph.cli.lines import Events, Lines
from fullgraph.cli.output import Manner, Output
from fullgraph.comm.launchers import place
from fullgraph.errors import FullgraphError, InputError
from fullgraph.stages import LOG

QUIET = typer.Option("--quiet", help="say nothing but errors")
JSON = typer.Option("--json", help="write an object of JSON per line to stdout: stages, epochs, the result, an error")


def output(manner: Manner) -> Output:
    """The output of this manner."""
    return {"bar": Bar, "lines": Lines, "json": Events, "quiet": Output}[manner]()


def _for_readers() -> Manner:
    return "bar" if sys.stderr.isatty() else "lines"


@contextmanager
def listening(told: Output) -> Iterator[Output]:
    """Tell it which stage of the work begins and ends, while the block runs."""
    handler, level = _Stages(told), LOG.level
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    try:
        yield told
    finally:
        LOG.setLevel(level)
        LOG.removeHandler(handler)
        told.end()


class _Stages(logging.Handler):
    def __init__(self, told: Output):
        super().__init__()
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        what, seconds = getattr(record, "stage", None), getattr(record, "seconds", None)
        if what is not None and seconds is None:
            self._told.stage(what)
        elif what is not None and seconds is not None:
            self._told.staged(what, seconds)


def with_output(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` the options ``--quiet`` and ``--json``; it gets ``told`` in their place.

    Where a launcher started several ranks, rank 0 speaks.
    """

    @functools.wraps(command)
    def saying(*args: Any, quiet: bool, as_json: bool, **kwargs: Any) -> None:
        if quiet and as_json:
            raise InputError("--quiet says nothing and --json says all; give one of them: --quiet --json")
        is_silent = quiet or place(os.environ).get("RANK", "0") != "0"
        with listening(output("quiet" if is_silent else "json" if as_json else _for_readers())) as told:
            try:
                command(*args, told=told, **kwargs)
            except FullgraphError as error:
                told.failed(error)
                raise

    signature = inspect.signature(command)
    own = [each for each in signature.parameters.values() if each.name != "told"]
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter("quiet", keyword, default=False, annotation=Annotated[bool, QUIET]),
        inspect.Parameter("as_json", keyword, default=False, annotation=Annotated[bool, JSON]),
    ]
    saying.__signature__ = signature.replace(parameters=[*own, *added])  # pyright: ignore[reportAttributeAccessIssue]
    saying.__annotations__ = {each.name: each.annotation for each in [*own, *added]}
    return saying
