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
from fullgraph.bench.case import Findings, case
from fullgraph.bench.contest import beside_best, compared, copy_bandwidth, median_seconds, ms, quietly
from fullgraph.datasets import load
from fullgraph.graph import EDGE, NODE, Graph
from fullgraph.ops.yardstick import gather_and_add

TOLERANCE = 1e-5
"""Largest difference of our float32 results from those in float64, over the largest."""
TOLERANCE_OF_OTHERS = 1e-3
"""The same for the other contenders: they did the same work, but some add up a hub's rows one by one."""
MOST_MESSAGE_BYTES = 3 << 30
"""PyG's plain edge index makes a row per edge; above this size it does not take part."""

REDUCTION_WIDTH = 128
REDUCTIONS = {"weighted sum": "sum", "mean": "mean", "maximum": "amax"}
"""As torch calls them."""


@case("Sums beside torch and PyG")
def run(found: Findings) -> None:
    """The sum over in-neighbours of float32 rows, median of {repeats} interleaved runs on {threads} threads:
    `fullgraph.ops.spmm` beside the best of `torch.sparse.mm(adjacency, x, reduce="sum")`, `adjacency @ x` with the
    adjacency in compressed rows, PyG's sorted `EdgeIndex`, and PyG's `SimpleConv` on the plain edge index (where its
    row per edge fits). Each result is compared with the sum in float64; the error is our largest difference over the
    largest sum, and no other's is above {others:.0e}. The other reductions are taken at width {reduction_width}, beside
    the same products of torch and PyG. *Gather-and-add* is a loop that adds the same rows one after another, without
    registers kept, prefetch or tiles.

    A copy within memory moves {bandwidth:.1f} GB/s on this machine. Graphs: {graphs}.
    """
    widths, repeats = ((7, 16), 2) if found.quick else ((7, 47, 64, 100, 128, 256), 7)
    sums = found.table("Sum over neighbours")
    reductions = found.table("Other reductions")
    narrow = found.table("bfloat16 rows")
    errors, described = [], []
    for label, graph in _graphs(found):
        described.append(f"*{label}*: {graph.num_nodes[NODE]:,} nodes, {len(graph.edges[EDGE].src):,} edges")
        contest = _Contest(graph, repeats)
        for width in widths:
            error, seconds = contest.reduce("sum", width)
            line = seconds.pop("gather-and-add")
            errors.append(error)
            row = {
                "graph": label,
                "width": width,
                **_beside_best(seconds),
                "gather-and-add, ms": ms(line),
                "of it, %": f"{100 * line / seconds['fullgraph']:.0f}",
                "largest error": f"{error:.1e}",
            }
            sums.add(row)
        for name in REDUCTIONS:
            error, seconds = contest.reduce(name, widths[-1] if found.quick else REDUCTION_WIDTH)
            errors.append(error)
            row = {"graph": label, "reduction": name, **_beside_best(seconds), "largest error": f"{error:.1e}"}
            reductions.add(row)
        narrow.add({"graph": label, "width": widths[-1], **contest.narrow(widths[-1])})
    found.facts.update(
        repeats=repeats,
        threads=torch.get_num_threads(),
        reduction_width=REDUCTION_WIDTH,
        others=TOLERANCE_OF_OTHERS,
        bandwidth=copy_bandwidth(1 << 22 if found.quick else 1 << 28) / 1e9,
        graphs="; ".join(described),
    )
    worst = max(errors)
    found.verdict(worst <= TOLERANCE, f"every sum differs from float64 by at most {worst:.1e} of the largest")
    if not found.quick:
        ratios = {width: [float(row[5]) for row in sums.rows if int(row[1]) == width] for width in widths}
        wide, odd = (min(min(ratios[width]) for width in some) for some in ((64, 128, 256), (7, 47, 100)))
        of_line = min(float(row[7]) for row in sums.rows if int(row[1]) in (64, 128, 256))
        found.verdict(wide >= 2.5, f"2.5 × the best other at widths 64, 128, 256: {wide:.2f} at least")
        found.verdict(of_line >= 70, f"70 % of gather-and-add at these widths: {of_line:.0f} % at least")
        found.verdict(odd >= 1, f"never slower than the best other at widths 7, 47, 100: {odd:.2f} at least")


def _graphs(found: Findings) -> Iterator[tuple[str, Graph]]:
    request = found.request
    if found.quick:
        yield request.label or "tiny", load(request.graph or "synthetic-tiny")
        return
    yield "uniform", graphs.uniform(50_000, 2_500_000)
    source = request.graph or "synthetic-large"
    yield request.label_of(source), load(source)
    yield "power law", graphs.chung_lu(1_000_000, 20_000_000)


class _Contest:
    """All contenders on one graph."""

    def __init__(self, graph: Graph, repeats: int):
        self._num_nodes, self._repeats, edge_index = graph.num_nodes[NODE], repeats, graphs.edge_index_of(graph)
        self._edge_index = edge_index[:, torch.argsort(edge_index[1], stable=True)].contiguous()
        self._block = graphs.square_block(self._edge_index, self._num_nodes)
        self._sorted = EdgeIndex(
            self._edge_index,
            sparse_size=(self._num_nodes, self._num_nodes),
            sort_order="col",  # pyright: ignore[reportCallIssue]
        )
        with quietly():
            self._sorted.matmul(torch.ones(self._num_nodes, 1), transpose=True)  # fills its cache

    def reduce(self, name: str, width: int) -> tuple[float, dict[str, float]]:
        """Our largest error, over the largest expected number, and the median seconds of each contender.

        Args:
            name: one of `REDUCTIONS`, or ``sum``, in which more contenders take part.
        """
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(self._num_nodes, width, generator=generator)
        how, indptr, indices = REDUCTIONS.get(name, name), self._block.indptr, self._block.indices
        weight = torch.rand(self._block.num_edges, generator=generator) if name == "weighted sum" else None
        values = torch.ones(self._block.num_edges) if weight is None else weight
        adjacency = graphs.adjacency(self._block, values)
        degree = self._block.degree.clamp(min=1).to(x.dtype).unsqueeze(1)

        def greatest() -> Tensor:
            value, count = torch.full_like(x, -torch.inf), torch.zeros_like(x, dtype=torch.int32)
            ops.extremum(indptr, indices, x, value, count, largest=True)
            return value.masked_fill_(count == 0, 0)

        def gathered() -> Tensor:
            out = torch.zeros_like(x)
            gather_and_add(indptr, indices, x, out)
            return out

        contenders: dict[str, Callable[[], Any]] = {
            "fullgraph": {
                "sum": lambda: self._sum(x, weight),
                "mean": lambda: self._sum(x).div_(degree),
                "amax": greatest,
            }[how],
            "torch.sparse.mm": lambda: torch.sparse.mm(adjacency, x, how),
            "PyG EdgeIndex": lambda: self._sorted.matmul(x, weight, reduce=how, transpose=True),  # pyright: ignore[reportArgumentType, reportCallIssue]
        }
        if how == "sum":
            contenders["torch CSR @"] = lambda: adjacency @ x
        if name == "sum":
            contenders["gather-and-add"] = gathered
            if self._edge_index.size(1) * width * 4 <= MOST_MESSAGE_BYTES:
                conv = SimpleConv(aggr="sum")
                contenders["PyG SimpleConv"] = lambda: conv(x, self._edge_index)
        expected = torch.sparse.mm(graphs.adjacency(self._block, values.double()), x.double(), how)
        errors, seconds = compared(contenders, expected, self._repeats)
        wrong = {n: error for n, error in errors.items() if error > TOLERANCE_OF_OTHERS}
        if wrong:
            raise AssertionError(
                f"contenders differ from the result in float64 by more than {TOLERANCE_OF_OTHERS}: {wrong}"
            )
        return errors["fullgraph"], seconds

    def narrow(self, width: int) -> dict[str, str]:
        """bfloat16 beside float32, and its error against the sum of the unrounded rows in float64."""
        x = torch.randn(self._num_nodes, width, generator=torch.Generator().manual_seed(0))
        half = x.bfloat16()
        ones = torch.ones(self._block.num_edges, dtype=torch.float64)
        expected = graphs.adjacency(self._block, ones) @ x.double()
        error = float((self._sum(half).double() - expected).abs().max() / expected.abs().max())
        contenders = {"float32": lambda: self._sum(x), "bfloat16": lambda: self._sum(half)}
        whole, rounded = median_seconds(contenders, self._repeats).values()
        return {
            "float32, ms": ms(whole),
            "bfloat16, ms": ms(rounded),
            "ratio": f"{whole / rounded:.2f}",
            "error of bfloat16": f"{error:.1e}",
        }

    def _sum(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        out = torch.empty_like(x)
        ops.spmm(self._block.indptr, self._block.indices, x, out, weight=weight, overwrites=True)
        return out


def _beside_best(seconds: dict[str, float]) -> dict[str, str]:
    own, other, which, ratio = beside_best(seconds)
    return {"fullgraph, ms": ms(own), "best other, ms": ms(other), "which": which, "ratio": f"{ratio:.2f}"}
