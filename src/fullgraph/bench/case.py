"""What every benchmark is given and what it finds, so that the command line can run any of them by name."""

import inspect
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import fullgraph as fg
from fullgraph.bench.report import Report, Table, largest_difference, verdict
from fullgraph.datasets import load
from fullgraph.graph import EDGE, NODE, Graph, PartitionedGraph

LOSS_TOLERANCE = 1e-3
"""Largest relative difference of losses in float32: sums in another order, then Adam's steps."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """What is trained.

    Attributes:
        source: of the graph, for ``fullgraph.datasets.load``.
        ranks: numbers of ranks, ascending; the graph is cut into as many parts as the last.
        hidden: per model, the width of a hidden layer, of all heads together.
        num_layers: of every model.
        epochs: how many are trained.
    """

    source: str
    ranks: tuple[int, ...]
    hidden: dict[str, int]
    num_layers: int = 3
    epochs: int

    def graph(self) -> Graph:
        """The graph, whole."""
        return load(self.source)


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

    def label_of(self, source: str) -> str:
        """What the report calls the graph of ``source``."""
        return self.label or Path(source).name


@dataclass(kw_only=True)
class Findings(Report):
    """The report while the case runs.

    Attributes:
        request: how to run it.
        size: what it trains, if it does.
        facts: what its text says, by the names that it has for it.
    """

    request: Request
    size: Any
    facts: dict[str, Any]

    @property
    def quick(self) -> bool:
        """Whether numbers mean nothing."""
        return self.request.quick

    def table(self, title: str) -> Table:
        """A new table, each row of which is told."""
        self.tables.append(Table(title=title, tell=self.request.tell))
        return self.tables[-1]

    def verdict(self, is_met: bool, claim: str) -> None:
        """Note a claim that must hold on any graph."""
        self.verdicts.append(verdict(is_met, claim))

    def demand(self, is_met: bool, claim: str) -> None:
        """Note a claim on numbers, if they mean something."""
        if not self.quick:
            self.verdict(is_met, claim)

    def same_losses(
        self, claim: str, pairs: Iterable[tuple[Sequence[float], Sequence[float]]], tolerance: float = LOSS_TOLERANCE
    ) -> None:
        """Note the claim that runs have the losses of others, given both."""
        largest = largest_difference(pairs)
        self.verdict(largest <= tolerance, f"{claim} up to a relative difference of {tolerance:.0e}: {largest:.1e}")

    @contextmanager
    def partitioned(self) -> Iterator[PartitionedGraph]:
        """The graph that was asked for, or else that of the size, cut for the largest number of ranks."""
        asked, size = self.request.graph, self.size
        with partitioned(asked or size.graph(), size.ranks[-1]) as stored:
            self.facts |= graph_facts(self.request.label_of(asked or size.source), stored)
            yield stored


def graph_facts(label: str, stored: PartitionedGraph) -> dict[str, Any]:
    """What a page says of a partitioned graph of one type, by the names that its text has for it."""
    return {
        "label": label,
        "nodes": stored.num_nodes(NODE),
        "edges": stored.num_edges(EDGE),
        "features": stored.num_features(NODE),
        "classes": stored.num_classes,
        "parts": stored.num_parts,
    }


Case = Callable[[Request], Report]


def case(
    title: str, full: Size | None = None, quick: Size | None = None
) -> Callable[[Callable[[Findings], None]], Case]:
    """Makes the case of a function that measures, whose docstring is the text of its page with a place for each fact.

    Args:
        title: of the page, one line.
        full, quick: what is trained, and what in its place where numbers mean nothing.
    """

    def made(measure: Callable[[Findings], None]) -> Case:
        @wraps(measure)
        def run(request: Request) -> Report:
            size = quick if request.quick else full
            found = Findings(title=title, request=request, size=size, facts={"size": size})
            measure(found)
            found.about = inspect.cleandoc(measure.__doc__ or "").format(**found.facts) + "\n"
            return found

        return run

    return made


@contextmanager
def partitioned(graph: Graph | str, num_parts: int, **how: Any) -> Iterator[PartitionedGraph]:
    """A graph, or that of a source, cut as `fullgraph.partition` does into a folder that is gone in the end."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.fg"
        stored = fg.partition(load(graph) if isinstance(graph, str) else graph, path, num_parts=num_parts, **how)
        del graph  # which may need more memory than what is measured
        yield stored
