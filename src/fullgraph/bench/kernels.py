"""How fast our sum over neighbours is beside torch's sparse products and PyG's, on the same rows and threads.

Three graphs: one whose rows fit the last-level cache, one whose rows do not, and one with hubs. Every product is
verified against the sum in float64 in the same run, and stands beside a plain gather-and-add of the same rows, which is
what memory allows a kernel that touches every row once per edge.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.nn import SimpleConv

from fullgraph import ops
from fullgraph.bench import graphs
from fullgraph.bench.case import Request
from fullgraph.bench.contest import beside_best, copy_bandwidth, median_seconds, ms, quietly
from fullgraph.bench.report import Report, verdict
from fullgraph.datasets import load
from fullgraph.graph import EDGE, NODE, Graph
from fullgraph.ops.yardstick import gather_and_add

TOLERANCE = 1e-5
"""Largest difference of our float32 results from those in float64, over the largest."""
TOLERANCE_OF_OTHERS = 1e-3
"""The same for the other contenders: they did the same work, but some add up a hub's rows one by one."""
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
REDUCTION_WIDTH = 128
REDUCTION_COLUMNS = ("graph", "reduction", "fullgraph, ms", "best other, ms", "which", "ratio", "largest error")
NARROW_COLUMNS = ("graph", "width", "float32, ms", "bfloat16, ms", "ratio", "error of bfloat16")

_ABOUT = """\
The sum over in-neighbours of float32 rows, median of {repeats} interleaved runs on {threads} threads:
`fullgraph.ops.spmm` beside the best of `torch.sparse.mm(adjacency, x, reduce="sum")`, `adjacency @ x` with the
adjacency in compressed rows, PyG's sorted `EdgeIndex`, and PyG's `SimpleConv` on the plain edge index (where its row
per edge fits). Each result is compared with the sum in float64; the error is our largest difference over the largest
sum, and no other's is above {others:.0e}. The other reductions are taken at width {reduction_width}, beside the same
products of torch and PyG. *Gather-and-add* is a loop that adds the same rows one after another, without registers kept,
prefetch or tiles.

A copy within memory moves {bandwidth:.1f} GB/s on this machine. Graphs: {graphs}.
"""


def run(request: Request) -> Report:
    """The case ``kernels``."""
    widths, repeats = ((7, 16), 2) if request.quick else ((7, 47, 64, 100, 128, 256), 7)
    sums, reductions, narrow = tables = (
        request.table("Sum over neighbours", COLUMNS),
        request.table("Other reductions", REDUCTION_COLUMNS),
        request.table("bfloat16 rows", NARROW_COLUMNS),
    )
    worst, described = 0.0, []
    for label, graph in _graphs(request):
        described.append(f"*{label}*: {graph.num_nodes[NODE]:,} nodes, {len(graph.edges[EDGE].src):,} edges")
        contest = _Contest(graph)
        for width in widths:
            cells, error = contest.row(width, repeats)
            worst = max(worst, error)
            sums.add(label, width, *cells)
        reduction_width = widths[-1] if request.quick else REDUCTION_WIDTH
        for name, (cells, error) in contest.reductions(reduction_width, repeats).items():
            worst = max(worst, error)
            reductions.add(label, name, *cells)
        narrow.add(label, widths[-1], *contest.narrow(widths[-1], repeats))
    about = _ABOUT.format(
        repeats=repeats,
        threads=torch.get_num_threads(),
        reduction_width=REDUCTION_WIDTH,
        others=TOLERANCE_OF_OTHERS,
        bandwidth=copy_bandwidth(1 << 22 if request.quick else 1 << 28) / 1e9,
        graphs="; ".join(described),
    )
    wide = [float(row[5]) for row in sums.rows if int(row[1]) in (64, 128, 256)]
    odd = [float(row[5]) for row in sums.rows if int(row[1]) in (7, 47, 100)]
    of_line = [float(row[7]) for row in sums.rows if int(row[1]) in (64, 128, 256)]
    verdicts = [verdict(worst <= TOLERANCE, f"every sum differs from float64 by at most {worst:.1e} of the largest")]
    if not request.quick:
        verdicts += [
            verdict(min(wide) >= 2.5, f"2.5 × the best other at widths 64, 128, 256: {min(wide):.2f} at least"),
            verdict(min(of_line) >= 70, f"70 % of gather-and-add at these widths: {min(of_line):.0f} % at least"),
            verdict(min(odd) >= 1, f"never slower than the best other at widths 7, 47, 100: {min(odd):.2f} at least"),
        ]
    return Report(title="Sums beside torch and PyG", about=about, verdicts=tuple(verdicts), tables=tables)


def _graphs(request: Request) -> Iterator[tuple[str, Graph]]:
    if request.quick:
        yield request.label or "tiny", load(request.graph or "synthetic-tiny")
        return
    yield "uniform", graphs.uniform(50_000, 2_500_000)
    source = request.graph or "synthetic-large"
    yield request.label_of(source), load(source)
    yield "power law", graphs.chung_lu(1_000_000, 20_000_000)


class _Contest:
    """All contenders on one graph."""

    def __init__(self, graph: Graph):
        self._num_nodes, edge_index = graph.num_nodes[NODE], graphs.edge_index_of(graph)
        self._edge_index = edge_index[:, torch.argsort(edge_index[1], stable=True)].contiguous()
        self._block = graphs.square_block(self._edge_index, self._num_nodes)
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
            "fullgraph": lambda: self._sum(x, torch.empty_like(x)),
            "gather-and-add": lambda: self._gather_and_add(x),
            "torch.sparse.mm": lambda: torch.sparse.mm(adjacency, x, "sum"),
            "torch CSR @": lambda: adjacency @ x,
            "PyG EdgeIndex": lambda: self._sorted.matmul(x, transpose=True),  # pyright: ignore[reportReturnType]
        }
        if self._edge_index.size(1) * width * 4 <= MOST_MESSAGE_BYTES:
            conv = SimpleConv(aggr="sum")
            contenders["PyG SimpleConv"] = lambda: conv(x, self._edge_index)
        error, seconds = _contest(contenders, self._adjacency(torch.float64) @ x.double(), repeats)
        line, cells = seconds.pop("gather-and-add"), _beside_best(seconds)
        return (*cells, ms(line), f"{100 * line / seconds['fullgraph']:.0f}", f"{error:.1e}"), error

    def reductions(self, width: int, repeats: int) -> dict[str, tuple[tuple[str, ...], float]]:
        """By reduction, the cells of its row after graph and name, and the largest error."""
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(self._num_nodes, width, generator=generator)
        weight = torch.rand(self._block.num_edges, generator=generator)
        plain, weighted = self._adjacency(x.dtype), self._adjacency(x.dtype, weight)
        degree = self._block.degree.clamp(min=1).to(x.dtype).unsqueeze(1)

        def greatest() -> Tensor:
            value, count = torch.full_like(x, -torch.inf), torch.zeros_like(x, dtype=torch.int32)
            ops.extremum(self._block.indptr, self._block.indices, x, value, count, largest=True)
            return value.masked_fill_(count == 0, 0)

        def pyg(reduce: Any, value: Tensor | None = None) -> Callable[[], Tensor]:
            return lambda: self._sorted.matmul(x, value, reduce=reduce, transpose=True)  # pyright: ignore[reportReturnType, reportCallIssue]

        contests: dict[str, tuple[Tensor, str, dict[str, Callable[[], Tensor]]]] = {
            "weighted sum": (
                self._adjacency(torch.float64, weight.double()),
                "sum",
                {
                    "fullgraph": lambda: self._sum(x, torch.empty_like(x), weight),
                    "torch.sparse.mm": lambda: torch.sparse.mm(weighted, x, "sum"),
                    "torch CSR @": lambda: weighted @ x,
                    "PyG EdgeIndex": pyg("sum", weight),
                },
            ),
            "mean": (
                self._adjacency(torch.float64),
                "mean",
                {
                    "fullgraph": lambda: self._sum(x, torch.empty_like(x)).div_(degree),
                    "torch.sparse.mm": lambda: torch.sparse.mm(plain, x, "mean"),
                    "PyG EdgeIndex": pyg("mean"),
                },
            ),
            "maximum": (
                self._adjacency(torch.float64),
                "amax",
                {
                    "fullgraph": greatest,
                    "torch.sparse.mm": lambda: torch.sparse.mm(plain, x, "amax"),
                    "PyG EdgeIndex": pyg("amax"),
                },
            ),
        }
        rows = {}
        for name, (adjacency, reduce, contenders) in contests.items():
            error, seconds = _contest(contenders, torch.sparse.mm(adjacency, x.double(), reduce), repeats)
            rows[name] = (*_beside_best(seconds), f"{error:.1e}"), error
        return rows

    def narrow(self, width: int, repeats: int) -> tuple[str, ...]:
        """bfloat16 beside float32, and its error against the sum of the unrounded rows in float64."""
        x = torch.randn(self._num_nodes, width, generator=torch.Generator().manual_seed(0))
        half = x.bfloat16()
        expected = self._adjacency(torch.float64) @ x.double()
        result = self._sum(half, torch.empty_like(half))
        error = float((result.double() - expected).abs().max() / expected.abs().max())
        seconds = median_seconds(
            {
                "float32": lambda: self._sum(x, torch.empty_like(x)),
                "bfloat16": lambda: self._sum(half, torch.empty_like(half)),
            },
            repeats,
        )
        ratio = seconds["float32"] / seconds["bfloat16"]
        return (*map(ms, seconds.values()), f"{ratio:.2f}", f"{error:.1e}")

    def _sum(self, x: Tensor, out: Tensor, weight: Tensor | None = None) -> Tensor:
        ops.spmm(self._block.indptr, self._block.indices, x, out, weight=weight, overwrites=True)
        return out

    def _gather_and_add(self, x: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        gather_and_add(self._block.indptr, self._block.indices, x, out)
        return out

    def _adjacency(self, dtype: torch.dtype, values: Tensor | None = None) -> Tensor:
        values = torch.ones(self._block.num_edges, dtype=dtype) if values is None else values
        return graphs.adjacency(self._block, values)


def _beside_best(seconds: dict[str, float]) -> tuple[str, ...]:
    own, other, which, ratio = beside_best(seconds)
    return ms(own), ms(other), which, f"{ratio:.2f}"


def _contest(
    contenders: dict[str, Callable[[], Tensor]], expected: Tensor, repeats: int
) -> tuple[float, dict[str, float]]:
    """Our largest error, over the largest expected number, and the median seconds of each contender."""
    largest = float(expected.abs().max())
    with quietly():
        errors = {name: float((work().double() - expected).abs().max()) / largest for name, work in contenders.items()}
        seconds = median_seconds(contenders, repeats)
    wrong = {name: error for name, error in errors.items() if error > TOLERANCE_OF_OTHERS}
    if wrong:
        raise AssertionError(
            f"contenders differ from the result in float64 by more than {TOLERANCE_OF_OTHERS}: {wrong}"
        )
    return errors["fullgraph"], seconds
