"""How fast our sum over neighbours is beside torch's sparse products and PyG's, on the same rows and threads.

Three graphs: one whose rows fit the last-level cache, one whose rows do not, and one with hubs. Every product is
verified against the sum in float64 in the same run, and stands beside a plain gather-and-add of the same rows, which is
what memory allows a kernel that touches every row once per edge.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.nn import SimpleConv

from fullgraph import ops
from fullgraph.bench import graphs
from fullgraph.bench.case import Request
from fullgraph.bench.contest import copy_bandwidth, median_seconds, quietly
from fullgraph.bench.report import Report, Table, verdict
from fullgraph.datasets import load
from fullgraph.graph import EDGE, NODE, Graph
from fullgraph.graph.block import Block
from fullgraph.ops.yardstick import gather_and_add

TOLERANCE = 1e-4
"""Largest difference of any float32 contender from the sum in float64, over the largest sum."""
MOST_MESSAGE_BYTES = 3 << 30
"""PyG's plain edge index makes a row per edge; above this size it does not take part."""

COLUMNS = (
    "graph",
    "width",
    "fullgraph, ms",
    "best other, ms",
    "which",
    "ratio",
    "gather-and-add, ms",
    "of it, %",
    "largest error",
)
NARROW_COLUMNS = ("graph", "width", "float32, ms", "bfloat16, ms", "ratio", "error of bfloat16")

_ABOUT = """\
The sum over in-neighbours of float32 rows, median of {repeats} interleaved runs on {threads} threads:
`fullgraph.ops.spmm` beside the best of `torch.sparse.mm(adjacency, x, reduce="sum")`, `adjacency @ x` with the
adjacency in compressed rows, PyG's sorted `EdgeIndex`, and PyG's `SimpleConv` on the plain edge index (where its row
per edge fits). Each result is compared with the sum in float64; the error is the largest difference over the largest
sum. *Gather-and-add* is a loop that adds the same rows one after another, without registers kept, prefetch or tiles.

A copy within memory moves {bandwidth:.1f} GB/s on this machine. Graphs: {graphs}.
"""


def run(request: Request) -> Report:
    """The case ``kernels``."""
    widths, repeats = ((7, 16), 2) if request.quick else ((7, 47, 64, 100, 128, 256), 7)
    rows, narrow, worst, described = [], [], 0.0, []
    for label, graph in _graphs(request):
        described.append(f"*{label}*: {graph.num_nodes[NODE]:,} nodes, {len(graph.edges[EDGE].src):,} edges")
        contest = _Contest(graph)
        for width in widths:
            cells, error = contest.row(width, repeats)
            worst = max(worst, error)
            rows.append((label, str(width), *cells))
            request.tell(", ".join(f"{column} {cell}" for column, cell in zip(COLUMNS, rows[-1], strict=True)))
        narrow.append((label, str(widths[-1]), *contest.narrow(widths[-1], repeats)))
        request.tell(", ".join(f"{column} {cell}" for column, cell in zip(NARROW_COLUMNS, narrow[-1], strict=True)))
    about = _ABOUT.format(
        repeats=repeats,
        threads=torch.get_num_threads(),
        bandwidth=copy_bandwidth(1 << 22 if request.quick else 1 << 28) / 1e9,
        graphs="; ".join(described),
    )
    ratios = {(row[0], int(row[1])): float(row[5]) for row in rows}
    wide = [ratio for (_, width), ratio in ratios.items() if width in (64, 128, 256)]
    odd = [ratio for (_, width), ratio in ratios.items() if width in (7, 47, 100)]
    of_line = [float(row[7]) for row in rows if int(row[1]) in (64, 128, 256)]
    verdicts = [verdict(worst <= TOLERANCE, f"every sum differs from float64 by at most {worst:.1e} of the largest")]
    if not request.quick:
        verdicts += [
            verdict(min(wide) >= 2.5, f"2.5 × the best other at widths 64, 128, 256: {min(wide):.2f} at least"),
            verdict(min(of_line) >= 70, f"70 % of gather-and-add at these widths: {min(of_line):.0f} % at least"),
            verdict(min(odd) >= 1, f"never slower than the best other at widths 7, 47, 100: {min(odd):.2f} at least"),
        ]
    tables = (
        Table(title="Sum over neighbours", columns=COLUMNS, rows=tuple(rows)),
        Table(title="bfloat16 rows", columns=NARROW_COLUMNS, rows=tuple(narrow)),
    )
    return Report(title="Sums beside torch and PyG", about=about, verdicts=tuple(verdicts), tables=tables)


def _graphs(request: Request) -> Iterator[tuple[str, Graph]]:
    if request.quick:
        yield request.label or "tiny", load(request.graph or "synthetic-tiny")
        return
    yield "uniform", graphs.uniform(50_000, 2_500_000)
    source = request.graph or "synthetic-large"
    yield request.label or Path(source).name, load(source)
    yield "power law", graphs.chung_lu(1_000_000, 20_000_000)


class _Contest:
    """All contenders on one graph."""

    def __init__(self, graph: Graph):
        edges, self._num_nodes = graph.edges[EDGE], graph.num_nodes[NODE]
        self._edge_index = torch.stack([torch.from_numpy(edges.src), torch.from_numpy(edges.dst)])
        order = torch.argsort(self._edge_index[1], stable=True)
        self._edge_index = self._edge_index[:, order].contiguous()
        self._block = Block.from_edges(
            self._edge_index[1], self._edge_index[0], None, num_rows=self._num_nodes, num_cols=self._num_nodes
        )
        self._sorted = EdgeIndex(
            self._edge_index,
            sparse_size=(self._num_nodes, self._num_nodes),
            sort_order="col",  # pyright: ignore[reportCallIssue]
        )
        with quietly():
            self._sorted.matmul(torch.ones(self._num_nodes, 1), transpose=True)  # fills its cache

    def row(self, width: int, repeats: int) -> tuple[tuple[str, ...], float]:
        """The cells of one row of the table after graph and width, and the largest error."""
        x = torch.randn(self._num_nodes, width, generator=torch.Generator().manual_seed(0))
        adjacency = self._adjacency(x.dtype)
        contenders: dict[str, Callable[[], Tensor]] = {
            "fullgraph": lambda: self._sum(x, torch.zeros_like(x)),
            "gather-and-add": lambda: self._gather_and_add(x),
            "torch.sparse.mm": lambda: torch.sparse.mm(adjacency, x, "sum"),
            "torch CSR @": lambda: adjacency @ x,
            "PyG EdgeIndex": lambda: self._sorted.matmul(x, transpose=True),  # pyright: ignore[reportReturnType]
        }
        if self._edge_index.size(1) * width * 4 <= MOST_MESSAGE_BYTES:
            conv = SimpleConv(aggr="sum")
            contenders["PyG SimpleConv"] = lambda: conv(x, self._edge_index)
        expected = self._adjacency(torch.float64) @ x.double()
        largest = float(expected.abs().max())
        with quietly():
            error = max(float((work().double() - expected).abs().max()) / largest for work in contenders.values())
        with quietly():
            seconds = median_seconds(contenders, repeats)
        own, line = seconds.pop("fullgraph"), seconds.pop("gather-and-add")
        best = min(seconds, key=lambda name: seconds[name])
        cells = (
            f"{1e3 * own:.2f}",
            f"{1e3 * seconds[best]:.2f}",
            best,
            f"{seconds[best] / own:.2f}",
            f"{1e3 * line:.2f}",
            f"{100 * line / own:.0f}",
            f"{error:.1e}",
        )
        return cells, error

    def narrow(self, width: int, repeats: int) -> tuple[str, ...]:
        """bfloat16 beside float32, and its error against the sum of the unrounded rows in float64."""
        x = torch.randn(self._num_nodes, width, generator=torch.Generator().manual_seed(0))
        half = x.bfloat16()
        expected = self._adjacency(torch.float64) @ x.double()
        result = self._sum(half, torch.zeros_like(half))
        error = float((result.double() - expected).abs().max() / expected.abs().max())
        seconds = median_seconds(
            {
                "float32": lambda: self._sum(x, torch.zeros_like(x)),
                "bfloat16": lambda: self._sum(half, torch.zeros_like(half)),
            },
            repeats,
        )
        ratio = seconds["float32"] / seconds["bfloat16"]
        return (*(f"{1e3 * each:.2f}" for each in seconds.values()), f"{ratio:.2f}", f"{error:.1e}")

    def _sum(self, x: Tensor, out: Tensor) -> Tensor:
        ops.spmm(self._block.indptr, self._block.indices, x, out)
        return out

    def _gather_and_add(self, x: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        gather_and_add(self._block.indptr, self._block.indices, x, out)
        return out

    def _adjacency(self, dtype: torch.dtype) -> Tensor:
        size = (self._num_nodes, self._num_nodes)
        values = torch.ones(self._block.num_edges, dtype=dtype)
        with quietly():
            return torch.sparse_csr_tensor(
                self._block.indptr, self._block.indices.long(), values, size, check_invariants=False
            )
