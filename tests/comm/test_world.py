"""What ranks say to each other when something is wrong: the same on all of them."""

import os
import re

import pytest
import torch

import fullgraph as fg
from fullgraph.comm.launch import launch
from fullgraph.comm.world import _placed
from fullgraph.errors import FullgraphError, GraphMismatch, InputError, PeerLost
from tests.ranks import end_ranks, run_ranks


def one_fails(world: fg.World, failing: tuple[int, ...]):
    def step():
        if world.rank in failing:
            raise InputError("x has 3 rows")
        return world.rank

    try:
        return world.together(step)
    except FullgraphError as error:
        return type(error).__name__, str(error)


def test_an_error_of_one_rank_is_raised_on_all_with_its_name():
    assert run_ranks(3, one_fails, (1, 2)) == [("InputError", "rank 1: x has 3 rows")] * 3


def test_an_error_of_all_ranks_names_none():
    assert run_ranks(3, one_fails, (0, 1, 2)) == [("InputError", "x has 3 rows")] * 3


def test_together_returns_each_ranks_result():
    assert run_ranks(3, one_fails, ()) == [0, 1, 2]


def disagree(world: fg.World):
    try:
        world.agree("seed", 5 if world.rank < 2 else 6)
    except GraphMismatch as error:
        return str(error)


def test_disagreement_is_one_error_on_all_ranks():
    message = "all ranks must use the same seed; rank 0 has 5 but rank 2 has: 6"
    assert run_ranks(3, disagree) == [message] * 3


def sums(world: fg.World):
    return world.all_reduce(torch.tensor([world.rank + 1.0])), world.broadcast(torch.tensor([world.rank]), root=1)


def test_sum_and_broadcast():
    for total, of_rank_1 in run_ranks(3, sums):
        assert total.item() == 6
        assert of_rank_1.item() == 1


def leave(world: fg.World):
    """Rank 1 leaves without a word; rank 0 tells what it saw."""
    if world.rank == 1:
        return world.close()
    try:
        world.all_reduce(torch.ones(1))
    except PeerLost as error:
        return str(error)


def test_a_lost_peer_is_an_error_that_says_what_was_awaited():
    try:
        message, _ = run_ranks(2, leave)
    finally:
        end_ranks(2)
    assert re.fullmatch(
        r"rank 1 \(machine \S+, process \d+\) is gone; rank 0 was waiting for a sum over all ranks; all ranks stop",
        message,
    )


@pytest.mark.parametrize(
    ("device", "num_gpus", "backend", "expected"),
    [
        ("auto", 0, None, ("cpu", None)),
        ("auto", 2, None, ("cuda:1", None)),
        ("auto", 1, None, ("cuda:0", "gloo")),
        ("auto", 1, "gloo", ("cuda:0", "gloo")),
        ("auto", 1, "nccl", None),
        ("cuda", 2, None, ("cuda:1", None)),
        ("cuda", 1, "gloo", ("cuda:0", "gloo")),
        ("cuda", 1, None, None),
        ("cuda:0", 1, None, ("cuda:0", None)),
    ],
)
def test_each_rank_of_a_machine_has_a_gpu_or_they_share_by_gloo(device, num_gpus, backend, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: num_gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_gpus)
    used = []
    monkeypatch.setattr(torch.cuda, "set_device", used.append)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    if expected is None:
        with pytest.raises(InputError) as caught:
            _placed(device, backend)
        assert str(caught.value) == (
            "2 ranks on this machine need a GPU each, but torch sees 1; start 1 here, or let them share with --backend "
            f"gloo, or use --device cpu: {device!r}"
        )
        return
    where, needed = _placed(device, backend)
    assert (str(where), needed) == expected
    assert used == ([where] if where.type == "cuda" else [])


def different_backends() -> None:
    fg.init(backend=["gloo", "nccl"][int(os.environ["RANK"])])


@pytest.mark.timeout(120)
def test_ranks_with_different_backends_are_refused_before_they_wait_for_each_other():
    with pytest.raises(InputError) as caught:
        launch(different_backends, num_ranks=2)
    assert str(caught.value) == (
        "all ranks must use the same backend, which follows from the device where it is not given; rank 0 has 'gloo' "
        "but rank 1 has: 'nccl'"
    )


def test_unknown_device_backend_and_incomplete_environment(monkeypatch):
    with pytest.raises(InputError, match=r"^device must be one that torch knows, such as cpu or cuda:0: 'abacus'$"):
        fg.init(device="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match=r"^torch sees no CUDA device here; use --device cpu: 'cuda'$"):
            fg.init(device="cuda")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.delenv("MASTER_PORT", raising=False)
    with pytest.raises(InputError, match=r"^this process is a rank, .*; not set: MASTER_ADDR, MASTER_PORT$"):
        fg.init()
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "1")
    with pytest.raises(InputError, match=r"^backend must be one of .*gloo.*: 'pigeons'$"):
        fg.init(backend="pigeons")
    monkeypatch.setenv("MASTER_ADDR", "203.0.113.1")  # of no machine
    with pytest.raises(
        InputError, match=r"^rank 0 cannot listen where ranks should meet \(.*\); .*: 203\.0\.113\.1:1$"
    ):
        fg.init()
    with pytest.raises(InputError, match=r"^timeout must be at least 1 second, and finite: 0$"):
        fg.init(timeout=0)
