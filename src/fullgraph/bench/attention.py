"""Attention layers beside PyG's own, and the fused kernels beside our plain sum of the same width.

Each layer trains one step on the same rows: projection, attention and their gradients. PyG takes part in its plain
form, with a sorted `EdgeIndex` and with torch's compressed rows; the best one counts. Outputs and gradients of all
contenders are compared first.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor
from torch_geometric import EdgeIndex

import fullgraph as fg
from fullgraph import ops
from fullgraph.bench import graphs
from fullgraph.bench.case import Findings, case, partitioned
from fullgraph.bench.contest import beside_best, median_seconds, peak_growth, quietly
from fullgraph.datasets import load
from fullgraph.engine import Additive, BothEnds, DotProduct
from fullgraph.engine.attention.scores import EdgeTerms, OnlineSoftmax, Outcome, Score
from fullgraph.graph import EDGE, NODE, Graph

HEADS, CHANNELS = 4, 32
LAYERS: dict[str, Callable[[int], torch.nn.Module]] = {
    "GATConv": lambda width: pyg.GATConv(width, CHANNELS, heads=HEADS),
    "GATv2Conv": lambda width: pyg.GATv2Conv(width, CHANNELS, heads=HEADS),
    "TransformerConv": lambda width: pyg.TransformerConv(width, CHANNELS, heads=HEADS),
}
WANTED = {"GATConv": 20, "GATv2Conv": 10, "TransformerConv": 10}
MEMORY_WANTED = 25

KERNEL_COLUMNS = ("score", "sum, ms", "forward, ms", "over sum", "backward, ms", "over sum")


@case("Attention beside PyG")
def run(found: Findings) -> None:
    """A layer is forward and backward of one training step, 100 features to {heads} heads of {channels} channels,
    projection included, in float32 on {threads} threads; median of {repeats} interleaved runs in one process. *Growth*
    is the rise of resident memory during one step; of PyG's forms the one that grows least counts. The error is the
    largest difference from PyG's plain form, of outputs over the largest output and of gradients over the largest
    gradient. Graph: uniform random, {nodes:,} nodes, {edges:,} distinct edges (with compressed rows PyG merges repeated
    ones).

    The kernels alone run on {label}, {kernel_nodes:,} nodes and {kernel_edges:,} edges: forward, and backward to
    sources and to destinations, beside `fullgraph.ops.spmm` of the same {width} columns.
    """
    repeats = 2 if found.quick else 5
    graph = graphs.distinct_edges(graphs.uniform(200, 2_000) if found.quick else graphs.uniform(50_000, 2_500_000))
    layers = found.table("Layers beside PyG's")
    kernels = found.table("Kernels beside the sum")
    for name in LAYERS:
        layers.add(_layer_row(name, graph, repeats))
    source = found.request.graph or ("synthetic-tiny" if found.quick else "synthetic-large")
    large = load(source)
    for row in _kernel_rows(large, repeats):
        kernels.add(zip(KERNEL_COLUMNS, row, strict=True))
    found.facts.update(
        heads=HEADS,
        channels=CHANNELS,
        width=HEADS * CHANNELS,
        threads=torch.get_num_threads(),
        repeats=repeats,
        nodes=graph.num_nodes[NODE],
        edges=graph.edges[EDGE].num_edges,
        label=found.request.label_of(source),
        kernel_nodes=large.num_nodes[NODE],
        kernel_edges=large.edges[EDGE].num_edges,
    )
    worst = max(float(row[-1]) for row in layers.rows)
    found.verdict(worst <= 1e-4, f"outputs and gradients differ from PyG's by at most {worst:.1e} of the largest")
    for name, *_, ratio, _, _, memory, _ in layers.rows:
        found.demand(float(ratio) >= WANTED[name], f"{name} at least {WANTED[name]} × PyG's best: {ratio}")
        found.demand(float(memory) >= MEMORY_WANTED, f"{name} at most 1/{MEMORY_WANTED} of PyG's growth: 1/{memory}")
    _, _, _, forward, _, backward = kernels.rows[0]
    found.demand(float(forward) <= 1.5, f"additive forward at most 1.5 sums: {forward}")
    found.demand(float(backward) <= 3, f"additive backward at most 3 sums: {backward}")


def _layer_row(name: str, graph: Graph, repeats: int) -> dict[str, str]:
    whole: Any = graphs.pyg_data(graph)
    rows, plain, num_nodes = whole.x, whole.edge_index, whole.num_nodes
    ordered = EdgeIndex(plain, sparse_size=(num_nodes, num_nodes)).sort_by("col").values.fill_cache_()  # pyright: ignore[reportCallIssue]
    compressed = graphs.adjacency(graphs.square_block(plain, num_nodes), torch.ones(plain.size(1)))
    steps = {}
    with partitioned(graph, 1, method="contiguous") as stored:  # from which walks are built
        data = fg.open(stored.path)
        for label, x, index in (
            ("fullgraph", data.x, data.edge_index),
            ("PyG, plain index", rows, plain),
            ("PyG, sorted EdgeIndex", rows, ordered),
            ("PyG, compressed rows", rows, compressed),
        ):
            torch.manual_seed(0)
            layer = LAYERS[name](rows.size(1))
            if label == "fullgraph":
                fg.prepare(layer, data)
            steps[label] = partial(_step, layer, x, index)
    error = _largest_error(steps)
    growth = {label: peak_growth(step) for label, step in steps.items()}
    own, other, best, ratio = beside_best(median_seconds(steps, repeats))
    own_growth = growth.pop("fullgraph")
    least = min(growth.values())
    return {
        "layer": name,
        "fullgraph, ms": f"{1e3 * own:.1f}",
        "PyG's best, ms": f"{1e3 * other:.1f}",
        "which": best.removeprefix("PyG, "),
        "ratio": f"{ratio:.1f}",
        "fullgraph growth, MiB": f"{own_growth / 2**20:.0f}",
        "PyG's growth, MiB": f"{least / 2**20:.0f}",
        "memory ratio": f"{least / max(own_growth, 1):.1f}",
        "largest error": f"{error:.1e}",
    }


def _step(layer: torch.nn.Module, x: Any, index: Any) -> list[Tensor]:
    """Forward and backward of one layer: its output and the gradients of all parameters."""
    layer.zero_grad()
    with quietly():
        out = layer(x, index)
        out.sum().backward()
    return [out.detach(), *(parameter.grad for parameter in layer.parameters() if parameter.grad is not None)]


def _largest_error(steps: dict[str, Callable[[], list[Tensor]]]) -> float:
    """Of outputs over the largest output, and of gradients over the largest gradient (some are 0 but for rounding)."""
    out, *gradients = steps["PyG, plain index"]()
    scale = max(float(gradient.abs().max()) for gradient in gradients)
    error = 0.0
    for step in steps.values():
        got, *got_gradients = step()
        error = max(error, float((fg.gather(got) - out).abs().max() / out.abs().max()))
        for mine, wanted in zip(got_gradients, gradients, strict=True):
            error = max(error, float((mine - wanted).abs().max()) / scale)
    return error


def _kernel_rows(graph: Graph, repeats: int) -> Iterator[tuple[str, ...]]:
    num_nodes = graph.num_nodes[NODE]
    block = graphs.square_block(graphs.edge_index_of(graph), num_nodes)
    _ = block.transposed
    generator = torch.Generator().manual_seed(0)

    def rows(*shape: int) -> Tensor:
        return torch.randn(num_nodes, *shape, generator=generator)

    x, y, z = (rows(HEADS, CHANNELS) for _ in range(3))
    a, b = rows(HEADS), rows(HEADS)
    att = torch.randn(HEADS, CHANNELS, generator=generator)
    scores: dict[str, tuple[Score, tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]]] = {
        "additive (GAT)": (Additive(0.2), (x, a), (b,), ()),
        "both ends (GATv2)": (BothEnds(0.2), (x,), (y,), (att,)),
        "dot product (Transformer)": (DotProduct(CHANNELS**-0.5), (x, y), (z,), ()),
    }
    for name, (score, src_tensors, dst_tensors, shared) in scores.items():
        terms = EdgeTerms(None, None, None)
        state = OnlineSoftmax(num_nodes, x)
        score.forward(block, src_tensors, dst_tensors, shared, state, terms)
        out, logsumexp = state.finish()
        outcome = Outcome(logsumexp, z, (z * out).sum(2))

        def forward(score=score, s=src_tensors, d=dst_tensors, p=shared, terms=terms) -> None:
            score.forward(block, s, d, p, OnlineSoftmax(num_nodes, x), terms)

        def backward(score=score, s=src_tensors, d=dst_tensors, p=shared, o=outcome, terms=terms) -> None:
            grads_src, grads_dst = ([torch.zeros_like(t) for t in tensors] for tensors in (s, (*d, *p)))
            score.backward(block.transposed, s, d, p, o, grads_src, grads_dst, terms)

        def plain_sum() -> None:
            ops.spmm(block.indptr, block.indices, x.view(num_nodes, -1), torch.zeros(num_nodes, HEADS * CHANNELS))

        seconds = median_seconds({"sum": plain_sum, "forward": forward, "backward": backward}, repeats)
        base = seconds["sum"]
        walks = ((f"{1e3 * seconds[walk]:.1f}", f"{seconds[walk] / base:.2f}") for walk in ("forward", "backward"))
        yield name, f"{1e3 * base:.1f}", *chain(*walks)
