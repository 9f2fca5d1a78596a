"""A bit or a rate that differs on one rank is noticed at the next comparison, and named with the rank."""

import re
from pathlib import Path

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from fullgraph.comm import World
from fullgraph.errors import RanksDiffer
from fullgraph.train import TrainConfig, train
from fullgraph.train.metrics import read_metrics
from tests.ranks import run_ranks
from tests.train.graphs import write_graph

EVERY = 3
CONFIG = TrainConfig(hidden=8, epochs=12, norm="batch", checkpoint_every=0, agree_every=EVERY)


def flip_bit(optimizer: torch.optim.Optimizer) -> None:
    words = optimizer.param_groups[0]["params"][0].view(torch.int32).view(-1)
    words[3] ^= 1 << 12  # the lowest may be lost by rounding in the next step


def flip_bit_of_moment(optimizer: torch.optim.Optimizer) -> None:
    optimizer.state[optimizer.param_groups[0]["params"][1]]["exp_avg_sq"].view(torch.int32)[0] ^= 1 << 20


def change_rate(optimizer: torch.optim.Optimizer) -> None:
    optimizer.param_groups[0]["lr"] *= 1 + 1e-12


def _train(world: World, graph: Path, run: Path, disturb, at: int):
    """As a rank, of which rank 1 is disturbed after a step."""
    steps = 0

    def after(optimizer, args, kwargs):
        nonlocal steps
        steps += 1
        if steps == at and world.rank == 1:
            disturb(optimizer)

    hook = register_optimizer_step_post_hook(after)
    try:
        train(graph, run, CONFIG, world)
    except RanksDiffer as error:
        return str(error)
    finally:
        hook.remove()
    return None


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("disturb", "named"),
    [
        (flip_bit, r"convs\.0\.\S+"),
        (flip_bit_of_moment, r"exp_avg(_sq)? of the optimizer for convs\.0\.\S+|convs\.0\.\S+"),
        (change_rate, r"convs\.0\.\S+|lr of the optimizer's group 0"),
    ],
)
def test_what_differs_on_one_rank_is_named_on_all(tmp_path, disturb, named):
    graph = write_graph(tmp_path / "small.fg", num_parts=3)
    said = run_ranks(3, _train, graph, tmp_path / "run", disturb, 4)
    assert said[0] == said[1] == said[2]
    assert re.fullmatch(
        rf"ranks no longer have the same model: ({named}) differs on rank 1 of 3 after epoch 6; --resume from a "
        "checkpoint before it, and look for what only that rank does, or for its memory",
        said[0],
    )
    assert len(read_metrics(tmp_path / "run")) == 6


def test_ranks_that_agree_train_on(tmp_path):
    graph = write_graph(tmp_path / "small.fg", num_parts=3)
    assert run_ranks(3, _train, graph, tmp_path / "run", flip_bit, 0) == [None] * 3
