"""Turns what the user names into what commands work on: a partitioned graph on disk, and a place among the ranks."""

import hashlib
import os
from pathlib import Path

from fullgraph.comm import World, init
from fullgraph.datasets import load
from fullgraph.graph import PartitionedGraph
from fullgraph.pyg.partition import partition


def for_ranks(graph: Path, num_ranks: int) -> Path:
    """The same folder, if that many ranks can open it: they are not started for nothing.

    Raises:
        GraphFormatError: there is no graph.
        GraphMismatch: it has fewer parts.
    """
    PartitionedGraph.open(graph).book.for_ranks(num_ranks)
    return graph


def partitioned(source: str, *, num_parts: int, method: str, seed: int) -> Path:
    """The folder of the partitioned graph that ``source`` is, or that is made from it once and kept in the cache.

    The cache is ``$FULLGRAPH_CACHE``, default ``~/.cache/fullgraph/partitioned``.
    A file that has changed is partitioned anew.

    Args:
        source: a partitioned graph's folder, or anything that `fullgraph.datasets.load` takes.
        num_parts, method, seed: how a data set is partitioned; unused for a partitioned graph.
    """
    path = Path(source)
    if path.suffix == ".fg" or (path / "manifest.json").exists():
        return path
    folder = os.environ.get("FULLGRAPH_CACHE") or Path.home() / ".cache" / "fullgraph" / "partitioned"
    graph = Path(folder) / f"{path.stem}-{num_parts}-{method}-{seed}-{_key(source)}.fg"
    if not graph.exists():
        graph.parent.mkdir(parents=True, exist_ok=True)
        partition(load(source), graph, num_parts=num_parts, method=method, seed=seed)
    return graph


def _key(source: str) -> str:
    path = Path(source)
    if path.exists():
        state = path.stat()
        identity = f"{path.resolve()} {state.st_size} {state.st_mtime_ns}"
    else:
        identity = f"{source} {os.environ.get('FULLGRAPH_DATA', '')}"
    return hashlib.sha256(os.fsencode(identity)).hexdigest()[:10]


TIMEOUT_HELP = "seconds without a sign of life from a rank after which the run stops and names it; default 60"


def join(backend: str, device: str, timeout: float) -> World:
    """This process in the run; the backend ``auto`` stands for not given."""
    return init(None if backend == "auto" else backend, device, timeout)
