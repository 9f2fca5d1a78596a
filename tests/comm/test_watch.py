"""A rank that freezes: the others learn who, within the time that the user gave, whatever they are doing."""

import os
import re
import signal
import time

import pytest
import torch

import fullgraph as fg
from fullgraph.comm.launch import launch
from fullgraph.errors import PeerLost

pytestmark = pytest.mark.timeout(120)
TIMEOUT = 4.0


def _freeze(place: str) -> None:
    world = fg.init(timeout=TIMEOUT)
    with world.during("epoch 7"):
        world.all_reduce(torch.ones(3))
        if world.rank == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        if place == "computing":
            time.sleep(1000)
        world.all_reduce(torch.ones(3))


@pytest.mark.parametrize(("place", "doing"), [("sum", "waiting for a sum over all ranks"), ("computing", "computing")])
def test_a_frozen_rank_is_named_and_ends_all(place, doing):
    start = time.monotonic()
    with pytest.raises(PeerLost) as caught:
        launch(_freeze, place, num_ranks=3)
    assert re.fullmatch(
        rf"rank 1 \(machine \S+, process \d+\) has been silent for 4 seconds; rank [02] was {doing} in epoch 7; "
        "all ranks stop",
        str(caught.value),
    )
    assert time.monotonic() - start < 60


def _rest(seconds: float) -> int:
    """Longer than the time-out: a rank that computes gives signs of life."""
    world = fg.init(timeout=TIMEOUT)
    if world.rank == 1:
        time.sleep(seconds)
    total = world.all_reduce(torch.ones(1))
    world.close()
    return int(total)


def test_a_slow_rank_is_waited_for():
    assert launch(_rest, 1.5 * TIMEOUT, num_ranks=2) == [2, 2]
