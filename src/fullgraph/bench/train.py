"""Epochs of three models in modes and numbers of ranks beside PyG on one process: time, memory, bytes and waiting."""

import torch

import fullgraph as fg
from fullgraph.bench.case import Request, Size, partitioned
from fullgraph.bench.contest import quietly
from fullgraph.bench.graphs import edge_index_of
from fullgraph.bench.report import Report, mib, same_losses, verdict
from fullgraph.bench.training import HEADS, MODELS, RankUse, Use, steps, train, watch
from fullgraph.comm.launch import launch
from fullgraph.config import Mode
from fullgraph.datasets import load
from fullgraph.graph import NODE, Graph

MODES: tuple[Mode, ...] = ("sar", "halo")

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
PyG's own GraphSAGE and GCN of hidden width {sage} and GAT of {heads} heads, {gat} columns together; {layers}
layers, batch norm, float32, {epochs} epochs of forward, backward and a step of Adam. Figures are of the median epoch
and of the rank that has most; bytes are rows and gradients of rows. *Waiting* is the share of the epochs in which a
rank waits for others, and with more ranks than cores for a core. *Peak growth* is the high-water mark of resident
memory over that just before the first epoch. Mode `keep` does what `sar` does in these models and is left out.

*PyG* is the same model on one process: GraphSAGE and GCN are given the graph as torch's compressed rows, which saves
them the tensors with a row per edge, and GAT an `edge_index`.

Graph: {label}, {nodes:,} nodes, {edges:,} edges, {features} features, {classes} classes, cut once by METIS into {parts}
parts. Every line is a fresh set of processes on one machine; {threads} threads on one rank, 1 from two ranks on.
"""

FULL = Size(source="synthetic-small", ranks=(1, 2, 4), hidden={"SAGE": 256, "GCN": 256, "GAT": 128}, epochs=3)
QUICK = Size(source="synthetic-tiny", ranks=(1, 2), hidden={"SAGE": 16, "GCN": 16, "GAT": 16}, epochs=3)


def run(request: Request) -> Report:
    """The case ``train``."""
    size = QUICK if request.quick else FULL
    source = request.graph or size.source
    measured: dict[tuple[str, str, int], Use] = {}
    table = request.table("Three models", COLUMNS)
    with partitioned(source, size.ranks[-1]) as stored:
        for model in MODELS:
            for way, num_ranks in [("PyG", 1), *((mode, num_ranks) for mode in MODES for num_ranks in size.ranks)]:
                if way == "PyG":
                    use = Use(launch(train_plainly, source, model, size, num_ranks=1))
                else:
                    use = train(stored.path, {"mode": way}, model, size, num_ranks=num_ranks)
                measured[model, way, num_ranks] = use
                table.add(model, way if way == "PyG" else f"`{way}`", num_ranks, *_cells(use))
    threads = measured["SAGE", "sar", 1].ranks[0].threads
    pairs = [pair for (model, *_), use in measured.items() for pair in use.beside(measured[model, "PyG", 1])]
    return Report(
        title="Training beside PyG",
        about=_ABOUT.format(heads=HEADS, threads=threads, **size.facts(), **request.facts(source, stored)),
        verdicts=(same_losses("all runs compute PyG's losses", pairs), _least_memory(measured, size.ranks)),
        tables=(table,),
    )


def train_plainly(source: str, model_name: str, size: Size) -> RankUse:
    """The same training in PyG alone, on the whole graph."""
    world = fg.init()
    graph = load(source)
    arrays, y = graph.node_arrays[NODE], torch.from_numpy(graph.node_arrays[NODE]["y"]).long()
    x, train_mask = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["train_mask"])
    given = (x, _adjacency(graph, model_name))
    torch.manual_seed(0)
    model = MODELS[model_name](x.shape[1], size.hidden[model_name], size.num_layers, int(y.max()) + 1)
    with quietly():
        return watch(steps(model, given, train_mask, y), size.epochs, world)


def _adjacency(graph: Graph, model_name: str) -> torch.Tensor:
    num_nodes, edge_index = graph.num_nodes[NODE], edge_index_of(graph)
    if model_name == "GAT":
        return edge_index
    if model_name == "GCN":  # which adds a self-loop to each row, and in this form to rows that have one, too
        edge_index = edge_index[:, edge_index[0] != edge_index[1]]
    with quietly():
        ones = torch.ones(edge_index.shape[1])
        return torch.sparse_coo_tensor(edge_index.flip(0), ones, (num_nodes, num_nodes)).to_sparse_csr()


def _cells(use: Use) -> tuple[str, ...]:
    waiting = max(sum(rank.waited) / sum(rank.seconds) for rank in use.ranks)
    return (
        f"{use.seconds:.2f}",
        f"{use.cpu_seconds:.2f}",
        "—" if len(use.ranks) == 1 else f"{100 * waiting:.0f} %",
        mib(use.growth),
        mib(use.sent),
        use.last_loss,
    )


def _least_memory(measured: dict[tuple[str, str, int], Use], ranks: tuple[int, ...]) -> str:
    excess = max(
        measured[model, "sar", count].growth / max(1, measured[model, "halo", count].growth)
        for model in MODELS
        for count in ranks
        if count > 1
    )
    claim = f"mode sar never needs more memory than mode halo, but for 10 % of noise: {excess:.2f} of it at most"
    return verdict(excess <= 1.1, claim)
