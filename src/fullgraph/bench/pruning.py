"""What pruning saves where one node in a hundred is labelled: rows, time, memory and bytes beside the unpruned run."""

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.nn.models import GraphSAGE

import fullgraph as fg
from fullgraph.bench.case import Findings, Size, case, graph_facts, partitioned
from fullgraph.bench.report import largest_difference
from fullgraph.bench.training import RankUse, Use, steps, watch
from fullgraph.comm.launch import launch
from fullgraph.datasets import load
from fullgraph.graph import NODE
from fullgraph.train.memory import PeakMemory

LABELLED = 0.01
LOSS_TOLERANCE = 1e-9
"""Largest relative difference of losses in float64 between the pruned run and the other."""

MEASURED = (
    "seconds per epoch",
    "CPU-seconds per epoch, all ranks",
    "peak growth, MiB",
    "sent per epoch, MiB",
    "last loss",
)


FULL = Size(source="synthetic-large", ranks=(1, 4), hidden={"SAGE": 256, "narrow": 32}, epochs=3)
QUICK = Size(source="synthetic-tiny", ranks=(1, 2), hidden={"SAGE": 16, "narrow": 8}, epochs=2)
BESIDE = "ogbn-arxiv-nofeat"
"""A second graph, which is always the same."""


@case("Pruning at 1 % labels", FULL, QUICK)
def run(found: Findings) -> None:
    """The model is PyG's own GraphSAGE class: {size.num_layers} layers, hidden width {size.hidden[SAGE]}, mean
    aggregation, no norm, float32; {size.epochs} epochs of forward, backward and a step of Adam. The loss is the mean
    over 1 % of the nodes, drawn from a seed without regard to edges. *Whole* computes all rows in each layer, *pruned*
    is `fullgraph.prune`.

    Rows are those of all ranks; time, memory and bytes those of the rank that has most, and of the median epoch. Peak
    growth is the high-water mark of a rank's resident memory from the moment the graph is open on: pruning, the walks'
    structure and training. Each line is a fresh set of processes on one machine, which shares its cores among the
    ranks. Losses in float64 are those of a model of hidden width {size.hidden[narrow]} with the same settings, run for
    that in the same way.

    {graphs}
    """
    size, request, worst = found.size, found.request, 0.0
    first = request.graph or size.source
    graphs = []
    for source, label in {first: request.label_of(first), **({} if found.quick else {BESIDE: BESIDE})}.items():
        graph = load(source)
        made = _with_features(graph)
        generated = "" if made is graph else " drawn from a seed"
        with partitioned(made, size.ranks[-1]) as stored:
            del graph, made
            graphs.append(
                "Graph: {label}, {nodes:,} nodes, {edges:,} edges, {features} features{generated}, {classes} classes, "
                "cut once by METIS into {parts} parts.".format(generated=generated, **graph_facts(label, stored))
            )
            table = found.table(label)
            for num_ranks in size.ranks:
                exact = [_trained(stored.path, prunes, torch.float64, size, num_ranks)[0] for prunes in (False, True)]
                difference = largest_difference(exact[0].beside(exact[1:]))
                worst = max(worst, difference)
                for prunes in (False, True):
                    use, rows, seconds = _trained(stored.path, prunes, torch.float32, size, num_ranks)
                    row = {
                        "ranks": num_ranks,
                        "run": "pruned" if prunes else "whole",
                        "rows computed by layer 1, 2, …": " / ".join(f"{count:,}" for count in rows),
                        "of all rows": " / ".join(f"{count / stored.num_nodes(NODE):.1%}" for count in rows),
                        "seconds to prune": f"{seconds:.2f}" if prunes else "–",
                        **use.cells(*MEASURED),
                        "losses in float64 differ by": f"{difference:.1e}" if prunes else "–",
                    }
                    table.add(row)
    found.facts["graphs"] = "\n\n".join(graphs)
    claim = f"pruned runs have the losses of the others up to a relative difference of {LOSS_TOLERANCE:.0e} in float64"
    found.verdict(worst <= LOSS_TOLERANCE, f"{claim}: {worst:.1e}")


def _with_features(graph: fg.Graph) -> fg.Graph:
    """The graph itself if its nodes have features, else with 100 normal ones."""
    arrays, num_nodes = graph.node_arrays[NODE], graph.num_nodes[NODE]
    if "x" in arrays:
        return graph
    x = np.random.default_rng(0).standard_normal((num_nodes, 100), dtype=np.float32)
    return replace(graph, node_arrays={NODE: {**arrays, "x": x}})


def _trained(
    path: Path, prunes: bool, dtype: torch.dtype, size: Size, num_ranks: int
) -> tuple[Use, tuple[int, ...], float]:
    """What training used, the rows of all ranks that each layer computed, and the seconds that pruning took."""
    uses, rows, seconds = zip(*launch(train_rank, path, prunes, dtype, size, num_ranks=num_ranks), strict=True)
    return Use(uses), rows[0], max(seconds)


def train_rank(path: Path, prunes: bool, dtype: torch.dtype, size: Size) -> tuple[RankUse, tuple[int, ...], float]:
    """Train on this rank's share of the partitioned graph at ``path``; in float64 the narrow model."""
    with closing(fg.init()) as world:
        data: Any = fg.open(path, world)
        num_features, num_classes = data.num_features, data.num_classes
        data.x = data.x.to(dtype)
        mask = labelled(data)
        memory, start = PeakMemory(world.device), time.perf_counter()
        graph: Any = fg.prune(data, mask, size.num_layers) if prunes else data
        rows = graph.rows_by_level[1:] if prunes else (int(data.num_nodes),) * size.num_layers
        mask = graph.mask if prunes else mask
        seconds = time.perf_counter() - start
        del data
        torch.manual_seed(0)
        hidden = size.hidden["narrow" if dtype == torch.float64 else "SAGE"]
        model = GraphSAGE(num_features, hidden, size.num_layers, num_classes).to(dtype)
        step = steps(model, (graph.x, graph.edge_index), mask, graph.y)
        fg.prepare(model, graph)
        return watch(step, size.epochs, world, memory), rows, seconds


def labelled(data: Any) -> torch.Tensor:
    """One node in a hundred, as a mask."""
    num_nodes = int(data.num_nodes)
    chosen = torch.randperm(num_nodes, generator=torch.Generator().manual_seed(0))[: max(1, int(LABELLED * num_nodes))]
    return torch.isin(torch.arange(data.num_nodes), chosen)
