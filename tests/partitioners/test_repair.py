"""Empty parts are filled from the largest, one node each, always the same way."""

import numpy as np

from fullgraph.partitioners.repair import fill_empty_parts


def test_literally() -> None:
    # sizes 4, 0, 2, 0: parts 1 and 3 take the last two nodes of part 0
    parts = fill_empty_parts({"node": np.array([0, 2, 0, 0, 2, 0])}, 4)
    np.testing.assert_array_equal(parts["node"], [0, 2, 0, 3, 2, 1])


def test_across_types() -> None:
    parts = fill_empty_parts({"a": np.array([0, 0]), "b": np.array([0, 2])}, 3)
    np.testing.assert_array_equal(parts["a"], [0, 0])
    np.testing.assert_array_equal(parts["b"], [1, 2])


def test_nothing_to_do_changes_nothing() -> None:
    given = {"node": np.array([1, 0])}
    assert fill_empty_parts(given, 2) is given


def test_as_many_parts_as_nodes() -> None:
    parts = fill_empty_parts({"node": np.zeros(5, np.int32)}, 5)
    np.testing.assert_array_equal(np.sort(parts["node"]), np.arange(5))
