"""Epochs of three models in modes and numbers of ranks beside PyG on one process: time, memory, bytes and waiting."""

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import fullgraph as fg
from fullgraph.bench.case import Request
from fullgraph.bench.contest import quietly
from fullgraph.bench.report import Report, Table, verdict
from fullgraph.bench.training import HEADS, MODELS, RankUse, train_rank, watch
from fullgraph.comm.launch import launch
from fullgraph.config import Mode
from fullgraph.datasets import load
from fullgraph.graph import EDGE, NODE, Graph

MODES: tuple[Mode, ...] = ("sar", "halo")
LOSS_TOLERANCE = 1e-3
"""Largest relative difference of losses between configurations: float32 sums in another order, then Adam's steps."""

COLUMNS = (
    "model",
    "runs",
    "ranks",
    "seconds per epoch",
    "CPU-seconds per epoch, all ranks",
    "waiting, share",
    "peak growth, MiB",
    "sent per epoch, MiB",
    "last loss",
)

_ABOUT = """\
PyG's own GraphSAGE and GCN of hidden width {hidden} and GAT of {heads} heads, {gat_hidden} columns together; {layers}
layers, batch norm, float32, {epochs} epochs of forward, backward and a step of Adam. Figures are of the median epoch
and of the rank that has most; bytes are rows and gradients of rows. *Waiting* is the share of the epochs in which a
rank waits for others, and with more ranks than cores for a core. *Peak growth* is the high-water mark of resident
memory over that just before the first epoch. Mode `keep` does what `sar` does in these models and is left out.

*PyG* is the same model on one process: GraphSAGE and GCN are given the graph as torch's compressed rows, which saves
them the tensors with a row per edge, and GAT an `edge_index`.

Graph: {label}, {nodes:,} nodes, {edges:,} edges, {features} features, {classes} classes, cut once by METIS into {parts}
parts. Every line is a fresh set of processes on one machine; {threads} threads on one rank, 1 from two ranks on.
"""


@dataclass(frozen=True, kw_only=True)
class Size:
    """What is trained.

    Attributes:
        source: of the graph, for ``fullgraph.datasets.load``.
        ranks: numbers of ranks, ascending from 1; the graph is cut into as many parts as the last.
        hidden: per model, the hidden width of all heads together.
        num_layers: of every model.
        epochs: how many are trained.
    """

    source: str
    ranks: tuple[int, ...]
    hidden: dict[str, int]
    num_layers: int
    epochs: int


FULL = Size(
    source="synthetic-small", ranks=(1, 2, 4), hidden={"SAGE": 256, "GCN": 256, "GAT": 128}, num_layers=3, epochs=3
)
QUICK = Size(source="synthetic-tiny", ranks=(1, 2), hidden={"SAGE": 16, "GCN": 16, "GAT": 16}, num_layers=3, epochs=3)


def run(request: Request) -> Report:
    """The case ``train``."""
    size = QUICK if request.quick else FULL
    source = request.graph or size.source
    graph = load(source)
    measured: dict[tuple[str, str, int], list[RankUse]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.fg"
        stored = fg.partition(graph, path, num_parts=size.ranks[-1])
        del graph
        for model in MODELS:
            arguments = (model, size.hidden[model], size.num_layers, size.epochs)
            runs = [("PyG", 1), *((mode, num_ranks) for mode in MODES for num_ranks in size.ranks)]
            for way, num_ranks in runs:
                if way == "PyG":
                    ranks = launch(train_plainly, source, *arguments, num_ranks=1)
                else:
                    ranks = launch(train_rank, path, {"mode": way}, *arguments, num_ranks=num_ranks)
                measured[model, way, num_ranks] = ranks
                row = _row(model, way, ranks)
                request.tell(", ".join(f"{column} {cell}" for column, cell in zip(COLUMNS, row, strict=True)))
    about = _ABOUT.format(
        hidden=size.hidden["SAGE"],
        gat_hidden=size.hidden["GAT"],
        heads=HEADS,
        layers=size.num_layers,
        epochs=size.epochs,
        **request.facts(source, stored),
        threads=measured["SAGE", "sar", 1][0].threads,
    )
    return Report(
        title="Training beside PyG",
        about=about,
        verdicts=(_same_losses(measured), _least_memory(measured, size.ranks)),
        tables=(
            Table(
                title="Three models",
                columns=COLUMNS,
                rows=tuple(_row(model, way, ranks) for (model, way, _), ranks in measured.items()),
            ),
        ),
    )


def train_plainly(source: str, model_name: str, hidden: int, num_layers: int, epochs: int) -> RankUse:
    """The same training in PyG alone, on the whole graph."""
    world = fg.init()
    graph = load(source)
    arrays, y = graph.node_arrays[NODE], torch.from_numpy(graph.node_arrays[NODE]["y"]).long()
    x, train_mask = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["train_mask"])
    adjacency = _adjacency(graph, model_name)
    torch.manual_seed(0)
    model = MODELS[model_name](x.shape[1], hidden, num_layers, int(y.max()) + 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def step() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x, adjacency)[train_mask], y[train_mask])
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    with quietly():
        return watch(step, epochs, world)


def _adjacency(graph: Graph, model_name: str) -> Tensor:
    edges, num_nodes = graph.edges[EDGE], graph.num_nodes[NODE]
    edge_index = torch.stack([torch.from_numpy(edges.src), torch.from_numpy(edges.dst)]).long()
    if model_name == "GAT":
        return edge_index
    if model_name == "GCN":  # which adds a self-loop to each row, and in this form to rows that have one, too
        edge_index = edge_index[:, edge_index[0] != edge_index[1]]
    with quietly():
        ones = torch.ones(edge_index.shape[1])
        return torch.sparse_coo_tensor(edge_index.flip(0), ones, (num_nodes, num_nodes)).to_sparse_csr()


def _row(model: str, way: str, ranks: list[RankUse]) -> tuple[str, ...]:
    seconds = [max(epoch) for epoch in zip(*(rank.seconds for rank in ranks), strict=True)]
    cpu = [sum(epoch) for epoch in zip(*(rank.cpu_seconds for rank in ranks), strict=True)]
    waiting = max(sum(rank.waited) / sum(rank.seconds) for rank in ranks)
    return (
        model,
        way if way == "PyG" else f"`{way}`",
        str(len(ranks)),
        f"{statistics.median(seconds):.2f}",
        f"{statistics.median(cpu):.2f}",
        "—" if len(ranks) == 1 else f"{100 * waiting:.0f} %",
        _mib(_peak(ranks)),
        _mib(max(statistics.median_low(rank.sent) for rank in ranks)),
        f"{ranks[0].losses[-1]:.6f}",
    )


def _same_losses(measured: dict[tuple[str, str, int], list[RankUse]]) -> str:
    largest = max(
        abs(loss - right) / abs(right)
        for (model, _, _), ranks in measured.items()
        for rank in ranks
        for loss, right in zip(rank.losses, measured[model, "PyG", 1][0].losses, strict=True)
    )
    claim = f"all runs compute PyG's losses up to a relative difference of {LOSS_TOLERANCE:.0e}: {largest:.1e}"
    return verdict(largest <= LOSS_TOLERANCE, claim)


def _least_memory(measured: dict[tuple[str, str, int], list[RankUse]], ranks: tuple[int, ...]) -> str:
    excess = max(
        _peak(measured[model, "sar", count]) / max(1, _peak(measured[model, "halo", count]))
        for model in MODELS
        for count in ranks
        if count > 1
    )
    claim = f"mode sar never needs more memory than mode halo, but for 10 % of noise: {excess:.2f} of it at most"
    return verdict(excess <= 1.1, claim)


def _peak(ranks: list[RankUse]) -> int:
    return max(each.growth for each in ranks)


def _mib(num_bytes: float) -> str:
    return f"{num_bytes / 2**20:,.1f}"
