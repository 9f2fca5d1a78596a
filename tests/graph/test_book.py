"""The partition book as data: who owns what, and how parts are dealt to ranks."""

import numpy as np
import pytest

from fullgraph.errors import GraphMismatch, InputError
from fullgraph.graph import PartitionBook

BOOK = PartitionBook(offsets={"a": np.array([0, 3, 3, 5, 9]), "b": np.array([0, 0, 2, 2, 3])}, name="cora.fg")


def test_owner_of_every_node_with_empty_parts_between() -> None:
    np.testing.assert_array_equal(BOOK.part_of_node("a", np.arange(9)), [0, 0, 0, 2, 2, 3, 3, 3, 3])
    np.testing.assert_array_equal(BOOK.part_of_node("b", np.arange(3)), [1, 1, 3])
    assert (BOOK.num_parts, BOOK.num_nodes("a"), BOOK.num_nodes("b")) == (4, 9, 3)


@pytest.mark.parametrize(
    ("num_ranks", "runs", "offsets"),
    [
        (1, [[0, 1, 2, 3]], [0, 9]),
        (2, [[0, 1], [2, 3]], [0, 3, 9]),
        (3, [[0], [1], [2, 3]], [0, 3, 3, 9]),
        (4, [[0], [1], [2], [3]], [0, 3, 3, 5, 9]),
    ],
)
def test_ranks_own_runs_of_parts(num_ranks: int, runs: list[list[int]], offsets: list[int]) -> None:
    assert [list(BOOK.parts_of_rank(rank, num_ranks)) for rank in range(num_ranks)] == runs
    book = BOOK.for_ranks(num_ranks)
    np.testing.assert_array_equal(book.offsets["a"], offsets)
    assert book.num_parts == num_ranks
    assert book.name == "cora.fg"


def test_runs_cover_all_parts_and_differ_by_one_at_most() -> None:
    book = PartitionBook(offsets={"a": np.arange(65)})
    for num_ranks in range(1, 65):
        runs = [book.parts_of_rank(rank, num_ranks) for rank in range(num_ranks)]
        assert [part for run in runs for part in run] == list(range(64))
        assert max(map(len, runs)) - min(map(len, runs)) <= 1


def test_more_ranks_than_parts() -> None:
    with pytest.raises(GraphMismatch) as caught:
        BOOK.for_ranks(8)
    assert str(caught.value) == (
        "the graph has 4 parts but this run has 8 ranks; start at most 4 ranks, "
        "or `fullgraph partition … --num-parts 8`: cora.fg"
    )
    with pytest.raises(GraphMismatch, match="start at most 4 ranks"):
        BOOK.parts_of_rank(0, 8)


def test_bad_numbers() -> None:
    with pytest.raises(InputError, match=r"^a run needs at least 1 rank: 0$"):
        BOOK.for_ranks(0)
    with pytest.raises(InputError, match=r"^a run of 2 ranks has the ranks 0 to 1: 2$"):
        BOOK.parts_of_rank(2, 2)
    with pytest.raises(InputError, match=r"^ids of node type 'a' run from 0 to 8: 9$"):
        BOOK.part_of_node("a", np.array([0, 9]))
    with pytest.raises(InputError, match=r"^part offsets of node type 'a' must be int64 and rise from 0: \[0 2 1\]$"):
        PartitionBook(offsets={"a": np.array([0, 2, 1])})
    with pytest.raises(InputError, match=r"same number of parts, at least 1: \[2, 3\]$"):
        PartitionBook(offsets={"a": np.array([0, 1]), "b": np.array([0, 1, 2])})
    with pytest.raises(InputError, match=r"^a partition book needs at least one node type: x.fg$"):
        PartitionBook(offsets={}, name="x.fg")
