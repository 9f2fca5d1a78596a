"""What every benchmark is given and what it returns, so that the command line can run any of them by name."""

from collections.abc import Callable
from dataclasses import dataclass

from fullgraph.bench.report import Report


@dataclass(frozen=True, kw_only=True)
class Request:
    """How to run a case.

    Attributes:
        quick: a tiny graph and few repeats: shows that the case works, and its numbers mean nothing.
        graph: a data set's name or file in place of the case's own graph, or None; cases on published graphs ignore it.
        label: what the report calls that graph; None: its name without folders.
        tell: told a line whenever something was measured.
    """

    quick: bool = False
    graph: str | None = None
    label: str | None = None
    tell: Callable[[str], None] = lambda line: None


Case = Callable[[Request], Report]
