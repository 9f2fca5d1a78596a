"""Epochs of three models in modes and numbers of ranks beside PyG on one process: time, memory, bytes and waiting."""

from itertools import product
from typing import Any

import torch

import fullgraph as fg
from fullgraph.bench.case import Findings, Size, case
from fullgraph.bench.contest import quietly
from fullgraph.bench.graphs import pyg_data
from fullgraph.bench.training import HEADS, MODELS, RankUse, Use, steps, train, watch
from fullgraph.comm.launch import launch
from fullgraph.config import Mode
from fullgraph.datasets import load

MODES: tuple[Mode, ...] = ("sar", "halo")

MEASURED = (
    "seconds per epoch",
    "CPU-seconds per epoch, all ranks",
    "waiting, share",
    "peak growth, MiB",
    "sent per epoch, MiB",
    "last loss",
)

FULL = Size(source="synthetic-small", ranks=(1, 2, 4), hidden={"SAGE": 256, "GCN": 256, "GAT": 128}, epochs=3)
QUICK = Size(source="synthetic-tiny", ranks=(1, 2), hidden={"SAGE": 16, "GCN": 16, "GAT": 16}, epochs=3)


@case("Training beside PyG", FULL, QUICK)
def run(found: Findings) -> None:
    """PyG's own GraphSAGE and GCN of hidden width {size.hidden[SAGE]} and GAT of {heads} heads, {size.hidden[GAT]}
    columns together; {size.num_layers} layers, batch norm, float32, {size.epochs} epochs of forward, backward and a
    step of Adam. Figures are of the median epoch and of the rank that has most; bytes are rows and gradients of rows.
    *Waiting* is the share of the epochs in which a rank waits for others, and with more ranks than cores for a core.
    *Peak growth* is the high-water mark of resident memory over that just before the first epoch. Mode `keep` does what
    `sar` does in these models and is left out.

    *PyG* is the same model on one process: GraphSAGE and GCN are given the graph as torch's compressed rows, which
    saves them the tensors with a row per edge, and GAT an `edge_index`.

    Graph: {label}, {nodes:,} nodes, {edges:,} edges, {features} features, {classes} classes, cut once by METIS into
    {parts} parts. Every line is a fresh set of processes on one machine; {threads} threads on one rank, 1 from two
    ranks on.
    """
    size: Size = found.size
    table = found.table("Three models")
    measured: dict[tuple[str, str, int], Use] = {}
    with found.partitioned() as stored:
        source = found.request.graph or size.source
        for model, (way, num_ranks) in product(MODELS, [("PyG", 1), *product(MODES, size.ranks)]):
            if way == "PyG":
                use = Use(launch(train_plainly, source, model, size, num_ranks=1))
            else:
                use = train(stored.path, {"mode": way}, model, size, num_ranks=num_ranks)
            measured[model, way, num_ranks] = use
            runs = way if way == "PyG" else f"`{way}`"
            table.add({"model": model, "runs": runs, "ranks": num_ranks, **use.cells(*MEASURED)})
    found.facts.update(heads=HEADS, threads=measured["SAGE", "sar", 1].ranks[0].threads)
    pairs = [pair for (model, *_), use in measured.items() for pair in measured[model, "PyG", 1].beside([use])]
    found.same_losses("all runs compute PyG's losses", pairs)
    excess = max(
        measured[model, "sar", count].growth / max(1, measured[model, "halo", count].growth)
        for model, count in product(MODELS, size.ranks[1:])
    )
    claim = f"mode sar never needs more memory than mode halo, but for 10 % of noise: {excess:.2f} of it at most"
    found.verdict(excess <= 1.1, claim)


def train_plainly(source: str, model_name: str, size: Size) -> RankUse:
    """The same training in PyG alone, on the whole graph."""
    world = fg.init()
    data: Any = pyg_data(load(source))
    torch.manual_seed(0)
    model = MODELS[model_name](data.num_features, size.hidden[model_name], size.num_layers, data.num_classes)
    given = (data.x, data.edge_index if model_name == "GAT" else _adjacency(data, model_name))
    with quietly():
        return watch(steps(model, given, data.train_mask, data.y), size.epochs, world)


def _adjacency(data: Any, model_name: str) -> torch.Tensor:
    edge_index = data.edge_index
    if model_name == "GCN":  # which adds a self-loop to each row, and in this form to rows that have one, too
        edge_index = edge_index[:, edge_index[0] != edge_index[1]]
    with quietly():
        ones = torch.ones(edge_index.shape[1])
        return torch.sparse_coo_tensor(edge_index.flip(0), ones, (data.num_nodes, data.num_nodes)).to_sparse_csr()
