"""A rank that freezes, or ranks that wait for each other: all learn who, within the time that the user gave."""

import os
import re
import signal
import time
from contextlib import ExitStack

import pytest
import torch

import fullgraph as fg
from fullgraph.bench.shaped import Network, network
from fullgraph.comm.launch import launch
from fullgraph.errors import InputError, PeerLost

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


def _apart(program: str) -> None:
    """Rank 0 does what the others do not."""
    world = fg.init(timeout=TIMEOUT)
    weight = torch.ones(3, requires_grad=True)
    if program == "hook" and world.rank == 0:
        weight.register_hook(lambda gradient: world.all_reduce(gradient.clone()))
    with world.during("epoch 7"):
        if program == "branch" and world.rank == 0:
            world.broadcast(torch.ones(1 << 20))
        (weight * 2).sum().backward()
        world.gather_objects(weight.grad)
    if program == "end" and world.rank == 0:
        world.all_max(torch.ones(3))
    world.close()


SUM = r"waiting for a sum over all ranks in epoch 7 \(operation 2\): rank 0"
BROADCAST = r"waiting for a tensor of rank 0 in epoch 7 \(operation 2\): rank 0"


@pytest.mark.parametrize("num_ranks", [2, 3])
@pytest.mark.parametrize(("program", "doing"), [("hook", SUM), ("branch", BROADCAST)])
def test_ranks_that_wait_for_different_things_end_and_say_for_what(program, doing, num_ranks):
    start = time.monotonic()
    with pytest.raises(PeerLost) as caught:
        launch(_apart, program, num_ranks=num_ranks)
    assert re.fullmatch(
        "all ranks wait, and nothing has come for 4 seconds; one calls what another does not, or a link between two is "
        rf"cut; all ranks stop; {doing}; waiting for an object of every rank in epoch 7 \(operation 2\): rank "
        + {2: "1", 3: "1, 2"}[num_ranks],
        str(caught.value),
    )
    assert time.monotonic() - start < 60


def test_a_rank_that_waits_for_those_that_left_says_so():
    with pytest.raises(PeerLost, match=r"rank [12] \(.*\) is gone; rank 0 was waiting for a maximum over all ranks"):
        launch(_apart, "end", num_ranks=3)


def _slowly(links: Network) -> float:
    links.enter(int(os.environ["RANK"]))
    world = fg.init(timeout=TIMEOUT)
    start = time.monotonic()
    world.broadcast(torch.ones(5 << 18))
    world.close()
    return time.monotonic() - start


def test_all_may_wait_for_long_while_bytes_come():
    with ExitStack() as held:
        try:
            links = held.enter_context(network(2, "4mbit"))
        except InputError as error:
            pytest.skip(f"network namespaces are for root alone: {error}")
        seconds = launch(_slowly, links, num_ranks=2, address=links.switch)
    assert max(seconds) > 2 * TIMEOUT, "or this shows nothing"
