"""What every benchmark is given and what it returns, so that the command line can run any of them by name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fullgraph.bench.report import Report
from fullgraph.graph import EDGE, NODE, PartitionedGraph


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
