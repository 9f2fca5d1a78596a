"""A trace of an epoch has every walk, its rounds and its waits, on each rank, and what travelled meanwhile."""

import json
import time
from collections.abc import Callable
from concurrent.futures import Future
from math import ceil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch_geometric.nn import models

import fullgraph as fg
from fullgraph.comm import spans
from fullgraph.comm import trace as traces
from fullgraph.errors import InputError
from fullgraph.pyg.data.graph import rank_graph
from tests.covers import rows_of_cover
from tests.equivalence.graphs import NUM_CLASSES, NUM_FEATURES, awkward_graph
from tests.ranks import run_ranks

ROUND_ROWS = 6
NANOSECOND = 1e-3
HOUR = 3600 * 10**9


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("graphs") / "graph.fg"
    fg.partition(awkward_graph(), path, num_parts=4)
    return str(path)


def traced_epoch(world: fg.World, graph: str, path: Path, mode: str) -> list[int]:
    data = fg.open(graph, world, round_rows=ROUND_ROWS, mode=mode)
    model = models.GCN(NUM_FEATURES, 8, 2, NUM_CLASSES)
    optimizer = torch.optim.SGD(fg.prepare(model, data).parameters(), lr=0.1)
    x = data.x.float()

    def epoch() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x, data.edge_index)[data.train_mask], data.y[data.train_mask]).backward()
        optimizer.step()

    epoch()
    with fg.trace(path, world):
        epoch()
    epoch()
    assert world.traffic.transfers is None
    return rank_graph(data).nodes["node"].positions.tolist()


def spans_of(path: Path, rank: int, keep: Callable[[dict], bool]) -> list[dict]:
    events = json.loads(path.read_text())["traceEvents"]
    chosen = [each for each in events if each["ph"] == "X" and each["pid"] == rank and keep(each)]
    return sorted(chosen, key=lambda each: each["ts"])


def named(start: str) -> Callable[[dict], bool]:
    return lambda each: each["name"].startswith(start)


def inside(outer: dict) -> Callable[[dict], bool]:
    stop = outer["ts"] + outer["dur"] + NANOSECOND
    return lambda each: outer["ts"] <= each["ts"] and each["ts"] + each["dur"] <= stop


def num_rounds(owner: np.ndarray, num_ranks: int, *, reverse: bool) -> int:
    """From the whole graph: the longest message of a sum between two ranks, in rounds, for each other rank."""
    edges = awkward_graph().edge_index.T.tolist()
    lengths = [
        rows_of_cover((v, w) for v, w in edges if [owner[v], owner[w]] == [sender, receiver][:: -1 if reverse else 1])
        for sender in range(num_ranks)
        for receiver in range(num_ranks)
        if sender != receiver
    ]
    return (num_ranks - 1) * ceil(max(lengths) / ROUND_ROWS)


@pytest.mark.parametrize("num_ranks", [2, 4])
def test_every_walk_has_its_rounds_and_waits_on_every_rank(num_ranks, graph, tmp_path):
    path = tmp_path / "new" / "trace.json"
    owner = np.zeros(awkward_graph().num_nodes, dtype=int)
    for rank, owned in enumerate(run_ranks(num_ranks, traced_epoch, graph, path, "sar")):
        owner[owned] = rank
    expected = [num_rounds(owner, num_ranks, reverse=reverse) for reverse in (False, True)]
    for rank in range(num_ranks):
        walks = spans_of(path, rank, named("walk: "))
        assert [walk["name"] for walk in walks] == ["walk: sum, forward", "walk: sum, backward"]
        for walk, count in zip(walks, expected, strict=True):
            parts = spans_of(path, rank, inside(walk))
            parts = [each for each in parts if each["tid"] == walk["tid"]]
            assert [each["name"] for each in parts].count("own rows") == 1
            rounds = [each["name"] for each in parts if named("round ")(each)]
            assert rounds == [
                f"round {k}: rows of rank {(rank - 1 - k // (count // (num_ranks - 1))) % num_ranks}"
                for k in range(count)
            ]
            assert sum(named("posting rows of rank")(each) for each in parts) == count
            assert sum(named("waiting for rows of rank")(each) for each in parts) == count
        waits = spans_of(path, rank, named("waiting for rows of rank"))
        assert len(waits) == sum(expected), "no wait for rows is outside of a walk"
        assert spans_of(path, rank, named("waiting for a sum over all ranks"))


@pytest.mark.parametrize("mode", ["sar", "halo"])
def test_spans_of_one_row_nest(mode, graph, tmp_path):
    path = tmp_path / "trace.json"
    run_ranks(2, traced_epoch, graph, path, mode)
    for rank in range(2):
        everything = spans_of(path, rank, lambda each: True)
        for row in {each["tid"] for each in everything}:
            stack: list[dict] = []
            of_row = [each for each in everything if each["tid"] == row]
            for each in sorted(of_row, key=lambda each: (each["ts"], -each["dur"])):
                while stack and stack[-1]["ts"] + stack[-1]["dur"] <= each["ts"] + NANOSECOND:
                    stack.pop()
                assert not stack or inside(stack[-1])(each), (stack[-1], each)
                stack.append(each)


@pytest.mark.parametrize("mode", ["sar", "halo"])
def test_a_round_that_travels_has_a_span_of_its_own(mode, graph, tmp_path):
    path = tmp_path / "trace.json"
    run_ranks(2, traced_epoch, graph, path, mode)
    for rank in range(2):
        postings = spans_of(path, rank, named("posting rows of rank"))
        transfers = spans_of(path, rank, lambda each: each["cat"] == "transfer")
        assert [f"posting {each['name']}" for each in transfers] == [each["name"] for each in postings]
        assert min(each["tid"] for each in transfers) == traces.FIRST_LANE
        names = [
            each["args"]["name"]
            for each in json.loads(path.read_text())["traceEvents"]
            if each["ph"] == "M" and each["pid"] == rank and each["name"] == "process_name"
        ]
        assert names == [f"rank {rank}"]


def test_transfers_under_way_at_once_are_in_different_rows():
    transfers = [spans.Transfer(str(k), 1000 * k, 1000 * end) for k, end in enumerate([2, 5, 3])]
    rows = traces._rows_of_transfers(transfers, 1, 1000)
    drawn = [
        (each["name"], each["tid"] - traces.FIRST_LANE, each["ts"], each["dur"]) for each in rows if each["ph"] == "X"
    ]
    assert drawn == [("0", 0, -1, 2), ("1", 1, 0, 4), ("2", 0, 1, 1)]


def test_a_recorded_message_is_waited_for_and_its_failure_told():
    transfers, works = spans.Transfers(), [Future(), Future()]
    for work in works:
        work.wait = work.result
    (recorded,) = transfers.recorded(works, "rows", time.time_ns())
    works[0].set_result(None)
    assert transfers.complete == []
    works[1].set_result(None)
    recorded.wait()
    (transfer,) = transfers.complete
    assert transfer.what == "rows"
    assert transfer.posted < transfer.complete
    lost = Future()
    lost.wait = lost.result
    (recorded,) = transfers.recorded([lost], "rows", 0)
    lost.set_exception(RuntimeError("connection closed"))
    with pytest.raises(RuntimeError, match=r"^connection closed$"):
        recorded.wait()
    assert len(transfers.complete) == 1


def started(world: fg.World, ahead: int) -> int:
    late = mock.Mock(time_ns=lambda: time.time_ns() + ahead * world.rank)
    with mock.patch.object(traces, "time", late):
        return traces._start(world)


def test_clocks_that_differ_are_put_on_one_axis():
    zero, one = run_ranks(2, started, 0)
    assert one == zero
    zero, one = run_ranks(2, started, HOUR)
    assert abs(one - zero - HOUR) < HOUR / 10


def failing(world: fg.World, path: Path) -> str:
    with pytest.raises(InputError) as raised, fg.trace(path, world):
        raise AssertionError("the block must not be entered")
    return str(raised.value)


def test_a_file_that_cannot_be_written_is_refused_on_all_ranks(tmp_path):
    (tmp_path / "file").write_text("")
    for path, why in (
        (tmp_path, "there is a folder of this name"),
        (tmp_path / "file" / "a.json", "cannot be written"),
    ):
        messages = run_ranks(2, failing, path)
        assert messages[0] == messages[1]
        assert messages[0].startswith("rank 0: ")
        assert why in messages[0]
        assert messages[0].endswith(f"; give another path: {path}")


def interrupted(world: fg.World, path: Path) -> None:
    with pytest.raises(ValueError, match="mine"), fg.trace(path, world):
        raise ValueError("mine")
    assert world.traffic.transfers is None


def test_a_block_that_raises_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "trace.json"
    path.write_text("old")
    run_ranks(2, interrupted, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_one_rank_has_nothing_under_way(graph, tmp_path):
    path = tmp_path / "trace.json"
    traced_epoch(fg.World(), graph, path, "sar")
    assert spans_of(path, 0, named("walk: sum, forward"))
    assert not spans_of(path, 0, lambda each: each["cat"] == "transfer")


def test_names_cost_nothing_while_nobody_watches():
    assert not isinstance(spans.span("a"), torch.profiler.record_function)
    with torch.profiler.profile():
        assert isinstance(spans.span("a"), torch.profiler.record_function)
