"""What a command has to say, apart from how it is said (`cli.manners`): the base says nothing."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from rich.console import Console, RenderableType

from fullgraph.errors import FullgraphError
from fullgraph.train import Watcher

Manner = Literal["bar", "lines", "json", "quiet"]


class Output(Watcher):
    """Says nothing; the other manners are subclasses. What goes on is told to it by `cli.manners.listening`."""

    manner: ClassVar[Manner] = "quiet"

    def stage(self, what: str) -> None:
        """A part of the work begins."""

    def staged(self, what: str, seconds: float) -> None:
        """It is over."""

    def result(self, shown: RenderableType, values: Mapping[str, Any]) -> None:
        """What came out, for a reader and for a program."""

    def failed(self, error: FullgraphError) -> None:
        """The command ends with this error, which `main` says on stderr."""


class ForReaders(Output):
    """What came out is printed."""

    def result(self, shown: RenderableType, values: Mapping[str, Any]) -> None:
        """On stdout."""
        Console().print(shown)
