"""How fast our sum over neighbours is beside torch's sparse product and PyG's layer, on the same rows and threads.

The three take turns in one process, so that whatever else the machine does hits all of them alike.
"""

import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch_geometric.nn import SimpleConv

from fullgraph import ops
from fullgraph.bench.case import Request
from fullgraph.bench.report import Report, Table, verdict
from fullgraph.datasets import load
from fullgraph.graph import EDGE, NODE, Graph
from fullgraph.graph.block import Block

TOLERANCE = 1e-4
"""Largest difference of any contender from the sum in float64, over the largest sum."""

COLUMNS = (
    "width",
    "fullgraph, ms",
    "torch.sparse.mm, ms",
    "PyG SimpleConv, ms",
    "torch over fullgraph",
    "PyG over fullgraph",
    "largest error",
)

_ABOUT = """\
The sum over in-neighbours of float32 rows, median of {repeats} interleaved runs on {threads} threads:
`fullgraph.ops.spmm`, `torch.sparse.mm(adjacency, x, reduce="sum")` with the adjacency in compressed rows, and PyG's
`SimpleConv(aggr="sum")` on the plain edge index. Each result is compared with the sum in float64; the error is the
largest difference of the three over the largest sum.

Graph: {label}, {nodes:,} nodes, {edges:,} edges.
"""


def run(request: Request) -> Report:
    """The case ``kernels``."""
    source = request.graph or ("synthetic-tiny" if request.quick else "synthetic-small")
    widths, repeats = ((8, 16), 2) if request.quick else ((64, 128), 9)
    graph = load(source)
    rows, errors = [], []
    for width in widths:
        row, error = _measure(graph, width, repeats)
        rows.append(row)
        errors.append(error)
        request.tell(", ".join(f"{column} {cell}" for column, cell in zip(COLUMNS, row, strict=True)))
    about = _ABOUT.format(
        repeats=repeats,
        threads=torch.get_num_threads(),
        label=request.label or Path(source).name,
        nodes=graph.num_nodes[NODE],
        edges=len(graph.edges[EDGE].src),
    )
    exact = verdict(max(errors) <= TOLERANCE, f"all three sums differ from float64 by at most {max(errors):.1e}")
    tables = (Table(title="Sum over neighbours", columns=COLUMNS, rows=tuple(rows)),)
    return Report(title="Kernels beside torch and PyG", about=about, verdicts=(exact,), tables=tables)


def _measure(graph: Graph, width: int, repeats: int) -> tuple[tuple[str, ...], float]:
    edges, num_nodes = graph.edges[EDGE], graph.num_nodes[NODE]
    edge_index = torch.stack([torch.from_numpy(edges.src), torch.from_numpy(edges.dst)])
    block = Block.from_edges(edge_index[1], edge_index[0], None, num_rows=num_nodes, num_cols=num_nodes)
    x = torch.randn(num_nodes, width, generator=torch.Generator().manual_seed(0))
    adjacency, conv = _adjacency(block, x.dtype), SimpleConv(aggr="sum")

    def ours(rows: Tensor) -> Tensor:
        out = torch.zeros_like(rows)
        ops.spmm(block.indptr, block.indices, rows, out)
        return out

    contenders: tuple[Callable[[Tensor], Tensor], ...] = (
        ours,
        lambda rows: torch.sparse.mm(adjacency, rows, "sum"),
        lambda rows: conv(rows, edge_index),
    )
    expected = _adjacency(block, torch.float64) @ x.double()
    error = max(float((contender(x) - expected).abs().max() / expected.abs().max()) for contender in contenders)
    seconds = [[] for _ in contenders]
    for _ in range(repeats):
        for contender, taken in zip(contenders, seconds, strict=True):
            start = time.perf_counter()
            contender(x)
            taken.append(time.perf_counter() - start)
    own, *others = (statistics.median(each) for each in seconds)
    milliseconds = (f"{1e3 * each:.2f}" for each in (own, *others))
    return (str(width), *milliseconds, *(f"{each / own:.2f}" for each in others), f"{error:.1e}"), error


def _adjacency(block: Block, dtype: torch.dtype) -> Tensor:
    size = (block.num_rows, block.num_cols)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch calls compressed rows a beta feature
        return torch.sparse_csr_tensor(
            block.indptr, block.indices.long(), torch.ones(block.num_edges, dtype=dtype), size, check_invariants=False
        )
