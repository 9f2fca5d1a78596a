"""Rows arrive where the schedule says, in order, whatever the size of a round and however many are in flight."""

import pytest
import torch

from fullgraph.comm import Returns, Routes, World, fetch, fetch_all, return_all, swap
from tests.ranks import run_ranks


def needs(rank: int, num_ranks: int) -> list[torch.Tensor]:
    """Rank r needs every (r + 2)-th of the 20 rows of each other rank."""
    return [torch.arange(0, 20, rank + 2) if q != rank else torch.empty(0, dtype=torch.int64) for q in range(num_ranks)]


def rows_of(rank: int) -> torch.Tensor:
    return torch.arange(60.0).view(20, 3) + 1000 * rank


def fetched(world: World, round_rows: int, prefetch: int):
    routes = Routes.connect(world, needs(world.rank, world.num_ranks), round_rows, prefetch)
    before = world.traffic.rows_bytes
    by_rounds = [
        (routes.rounds[k], rows, double)
        for k, (rows, double) in fetch(routes, (rows_of(world.rank), rows_of(world.rank).double() * 2))
    ]
    sent = world.traffic.rows_bytes - before
    return by_rounds, fetch_all(routes, rows_of(world.rank)), sent, routes.num_sent


@pytest.mark.parametrize("prefetch", [0, 1, 5])
@pytest.mark.parametrize("round_rows", [1, 3, 100])
@pytest.mark.parametrize("num_ranks", [2, 3, 4])
def test_fetch_brings_what_was_asked_for(num_ranks, round_rows, prefetch):
    for rank, (by_rounds, whole, sent, num_sent) in enumerate(run_ranks(num_ranks, fetched, round_rows, prefetch)):
        asked = needs(rank, num_ranks)
        for round_, rows, double in by_rounds:
            wanted = rows_of(round_.receive_from)[
                asked[round_.receive_from][round_.receive.start : round_.receive.stop]
            ]
            assert torch.equal(rows, wanted)
            assert torch.equal(double, wanted.double() * 2)
            assert len(rows) <= round_rows
        assert torch.equal(whole, torch.cat([rows_of(q)[ids] for q, ids in enumerate(asked)]))
        assert sent == num_sent * (3 * 4 + 3 * 8)


def returned(world: World, round_rows: int, prefetch: int):
    routes = Routes.connect(world, needs(world.rank, world.num_ranks), round_rows, prefetch)
    total = torch.zeros(20, 3)
    returns = Returns(routes, (total,))
    for number, (rows,) in fetch(routes, (rows_of(world.rank),)):
        returns.post(number, (rows * (world.rank + 1),))
    returns.finish()
    at_once = return_all(routes, fetch_all(routes, rows_of(world.rank)) * (world.rank + 1), torch.zeros(20, 3))
    return total, at_once


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("round_rows", [2, 100])
@pytest.mark.parametrize("num_ranks", [2, 4])
def test_returned_rows_are_added_to_their_owners(num_ranks, round_rows, prefetch):
    for rank, (total, at_once) in enumerate(run_ranks(num_ranks, returned, round_rows, prefetch)):
        wanted = torch.zeros(20, 3)
        for other in range(num_ranks):
            ids = needs(other, num_ranks)[rank]
            wanted[ids] += rows_of(rank)[ids] * (other + 1)
        assert torch.equal(total, wanted)
        assert torch.equal(at_once, wanted)


def swapped(world: World):
    mine = [torch.full((q + 2 * world.rank,), 10 * world.rank + q) for q in range(world.num_ranks)]
    return swap(world, mine)


def test_swap_gives_every_rank_its_list():
    for rank, lists in enumerate(run_ranks(3, swapped)):
        for other, received in enumerate(lists):
            length = 0 if other == rank else rank + 2 * other
            assert torch.equal(received, torch.full((length,), 10 * other + rank))
