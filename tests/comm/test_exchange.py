"""Rows arrive where the schedule says, in order, whatever the size of a round and however many are in flight."""

from dataclasses import replace

import pytest
import torch
import torch.distributed as dist

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


def holders(world: World, prefetch: int):
    """How many hold a round's rows while they are used: this test, and whoever should have let go of them."""
    routes = Routes.connect(world, needs(world.rank, world.num_ranks), 3, prefetch)
    return [rows._use_count() for _, (rows,) in fetch(routes, (rows_of(world.rank),)) if len(rows)]


@pytest.mark.parametrize("prefetch", [0, 1])
def test_nothing_holds_rows_that_were_handed_out(prefetch):
    alone = torch.empty(3)._use_count()
    for counts in run_ranks(2, holders, prefetch):
        assert len(counts) > 1
        assert set(counts) == {alone}


def round_lengths(world: World, num_rows: int, round_rows: int, prefetch: int):
    needed = [torch.arange(num_rows if rank != world.rank else 0) for rank in range(world.num_ranks)]
    return [len(round_.receive) for round_ in Routes.connect(world, needed, round_rows, prefetch).rounds]


@pytest.mark.parametrize(
    ("num_ranks", "prefetch", "lengths"),
    [(2, 1, [3000] * 3), (2, 0, [4500] * 2), (2, 2, [2250] * 4), (3, 1, [6000, 3000] * 2), (4, 1, [9000] * 3)],
)
def test_a_walk_has_more_rounds_than_are_in_flight(num_ranks, prefetch, lengths):
    assert run_ranks(num_ranks, round_lengths, 9000, 32_768, prefetch) == [lengths] * num_ranks


def test_rounds_are_not_cut_short_but_as_short_as_they_are_asked_for():
    assert run_ranks(2, round_lengths, 1500, 32_768, 1) == [[1024, 476]] * 2
    assert run_ranks(2, round_lengths, 100, 32_768, 1) == [[100]] * 2
    assert run_ranks(2, round_lengths, 100, 40, 1) == [[40, 40, 20]] * 2


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


def posted(world: World, prefetch: int):
    batches: list[list[str]] = []

    def post(operations: list[dist.P2POp]) -> list[dist.Work]:
        batches.append([operation.op.__name__ for operation in operations])
        return world.post(operations)

    watched = replace(world, post=post)
    routes = Routes.connect(watched, needs(world.rank, world.num_ranks), 100, prefetch)  # no empty round
    batches.clear()
    incoming = fetch(routes, (rows_of(world.rank), rows_of(world.rank).double()))
    under_way = [len(batches)]
    for _ in incoming:
        under_way.append(len(batches))
    return batches, under_way, len(routes.rounds)


@pytest.mark.parametrize("prefetch", [0, 1, 2])
def test_rounds_are_posted_ahead_and_their_receives_before_their_sends(prefetch):
    for batches, under_way, num_rounds in run_ranks(3, posted, prefetch):
        assert under_way == [min(done + prefetch, num_rounds) for done in range(num_rounds + 1)]
        assert batches == [["irecv", "irecv", "isend", "isend"]] * num_rounds


def walking(world: World):
    routes = Routes.connect(world, needs(world.rank, world.num_ranks), 4, 1)
    before = (world.traffic.walked_seconds, world.traffic.waited_seconds)
    for _ in fetch(routes, (rows_of(world.rank),)):
        pass
    return world.traffic.walked_seconds - before[0], world.traffic.waited_seconds - before[1]


def test_a_walk_counts_its_time():
    for walked, waited in run_ranks(2, walking):
        assert walked >= waited > 0


def heard_of_a_longer_message(world: World, length: int):
    place = torch.full((length,), 7.0)
    if world.rank == 0:
        dist.isend(torch.ones(length // 3), 1).wait()
        dist.isend(torch.full((2,), 5.0), 1).wait()
        return None
    following = torch.zeros(2)
    works = [dist.irecv(place, 0), dist.irecv(following, 0)]
    for work in works:
        work.wait()
    return int((place[: length // 3] == 1).sum()), int((place[length // 3 :] == 7).sum()), following.tolist()


@pytest.mark.parametrize("length", [9, 3_000_000])
def test_gloo_takes_a_message_that_is_shorter_than_its_place(length):
    """What rows without zeros rely on: what is behind the message stays, and the next message is not touched."""
    _, heard = run_ranks(2, heard_of_a_longer_message, length)
    assert heard == (length // 3, length - length // 3, [5.0, 5.0])


SPARSE_COLUMNS = 24


def sparse_rows_of(rank: int) -> torch.Tensor:
    rows = torch.randn(20, SPARSE_COLUMNS, generator=torch.Generator().manual_seed(rank))
    return rows.relu()


def fetched_packed(world: World, round_rows: int, backend: str):
    routes = Routes.connect(replace(world, backend=backend), needs(world.rank, world.num_ranks), round_rows, 1)
    mine, dense, traffic = sparse_rows_of(world.rank), sparse_rows_of(world.rank) + 1, world.traffic
    before = traffic.rows_bytes
    by_rounds = [rows for _, rows in fetch(routes, (mine, dense), packs=True)]
    middle = traffic.rows_bytes
    whole = fetch_all(routes, mine, packs=True)
    sent = [
        (
            len(round_.send),
            int((mine[routes.send_rows[round_.send_to][round_.send.start : round_.send.stop]] != 0).sum()),
        )
        for round_ in routes.rounds
    ]
    return by_rounds, whole, (middle - before, traffic.rows_bytes - middle), sent


@pytest.mark.parametrize("round_rows", [2, 100])
@pytest.mark.parametrize("num_ranks", [2, 3])
@pytest.mark.parametrize("backend", ["gloo", "another"])
def test_rows_with_zeros_travel_packed_and_arrive_whole(num_ranks, round_rows, backend):
    for rank, (by_rounds, whole, sent_bytes, sent) in enumerate(
        run_ranks(num_ranks, fetched_packed, round_rows, backend)
    ):
        wanted = torch.cat([sparse_rows_of(q)[ids] for q, ids in enumerate(needs(rank, num_ranks))])
        assert torch.equal(whole, wanted)
        assert sorted(torch.cat([rows for rows, _ in by_rounds]).tolist()) == sorted(wanted.tolist())
        assert sorted(torch.cat([rows for _, rows in by_rounds]).tolist()) == sorted((wanted + 1).tolist())
        messages = [(SPARSE_COLUMNS * rows, count) for rows, count in sent if rows]
        whole_bytes = sum(4 * total for total, _ in messages)
        packed_bytes = sum(8 + 8 * -(-total // 64) + 4 * count for total, count in messages)
        if backend == "gloo":
            assert packed_bytes < whole_bytes
            assert sent_bytes == (packed_bytes + whole_bytes + 8 * len(messages), packed_bytes)
        else:
            assert sent_bytes == (2 * whole_bytes, whole_bytes)
