"""Ranks that seed nothing, or each something else, draw what rank 0 draws."""

import random

import numpy as np
import torch
from torch_geometric.data import Data

import fullgraph as fg
from fullgraph.errors import GraphMismatch
from tests.ranks import run_ranks


def _drawn(world: fg.World) -> tuple[list[int], float, float]:
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(world.rank)
    fg.init()
    return torch.randperm(50).tolist(), random.random(), float(np.random.rand())  # noqa: NPY002


def test_all_ranks_draw_as_rank_0():
    answers = run_ranks(3, _drawn)
    assert answers[1] == answers[2] == answers[0]
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(0)
    assert answers[0] == (torch.randperm(50).tolist(), random.random(), float(np.random.rand()))  # noqa: NPY002


def _opened(world: fg.World, name: str) -> str:
    data = Data(x=torch.ones(6, 2), edge_index=torch.tensor([[0, 1, 2], [3, 4, 5]]), train_idx=torch.tensor([1, 2]))
    data.colour = torch.zeros(6, dtype=torch.bool)
    data[name] = data[name].clone()
    data[name].view(-1)[0] += world.rank
    try:
        fg.open(data, world)
    except GraphMismatch as error:
        return str(error)
    return "opened"


def test_graphs_that_differ_by_rank_are_refused():
    for name in ("x", "edge_index", "train_idx"):
        for message in run_ranks(2, _opened, name):
            assert message.startswith(
                "all ranks must use the same graph, in all its numbers (call fullgraph.init first"
            )
