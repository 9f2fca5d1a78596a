"""What every benchmark is given and what it returns, so that the command line can run any of them by name."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fullgraph as fg
from fullgraph.bench.report import Report, Table
from fullgraph.datasets import load
from fullgraph.graph import EDGE, NODE, Graph, PartitionedGraph


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

    def facts(self) -> dict[str, int]:
        """What a page says of it, by the names that its text has for it: a model's is its hidden width."""
        widths = {model.lower(): width for model, width in self.hidden.items()}
        return {"layers": self.num_layers, "epochs": self.epochs, **widths}


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

    def table(self, title: str, columns: tuple[str, ...]) -> Table:
        """An empty table, each row of which is told."""
        return Table(title=title, columns=columns, tell=self.tell)

    def label_of(self, source: str) -> str:
        """What the report calls the graph of ``source``."""
        return self.label or Path(source).name

    def facts(self, source: str, stored: PartitionedGraph) -> dict[str, Any]:
        """What a page says of a partitioned graph of one type, by the names that its text has for it."""
        return {
            "label": self.label_of(source),
            "nodes": stored.num_nodes(NODE),
            "edges": stored.num_edges(EDGE),
            "features": stored.num_features(NODE),
            "classes": stored.num_classes,
            "parts": stored.num_parts,
        }


Case = Callable[[Request], Report]


@contextmanager
def partitioned(graph: Graph | str, num_parts: int, **how: Any) -> Iterator[PartitionedGraph]:
    """A graph, or that of a source, cut as `fullgraph.partition` does into a folder that is gone in the end."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.fg"
        stored = fg.partition(load(graph) if isinstance(graph, str) else graph, path, num_parts=num_parts, **how)
        del graph  # which may need more memory than what is measured
        yield stored
