"""``adj_t`` is the edges under another name, for layers; nothing else can be done to it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import fullgraph as fg
from fullgraph.errors import UnsupportedOperation
from tests.equivalence.graphs import awkward_graph

REFUSED: dict[str, Callable[[Any], Any]] = {
    "sum": lambda adj_t: adj_t.sum(dim=1),
    "matmul": lambda adj_t: adj_t @ torch.ones(3, 2),
    "mul": lambda adj_t: 2 * adj_t,
    "t": lambda adj_t: adj_t.t(),
    "size": lambda adj_t: adj_t.size(0),
    "shape": lambda adj_t: adj_t.shape,
    "set_diag": lambda adj_t: adj_t.set_diag(),
    "storage": lambda adj_t: adj_t.storage(),
}


@pytest.mark.parametrize("name", REFUSED)
def test_as_a_matrix_it_is_refused(name):
    adj_t = fg.open(awkward_graph()).adj_t
    with pytest.raises(UnsupportedOperation, match=rf"adj_t.{name}: .* no matrix; write it with data.edge_index"):
        REFUSED[name](adj_t)


def test_a_program_may_ask_what_it_has():
    adj_t = fg.open(awkward_graph()).adj_t
    assert not hasattr(adj_t, "set_diag")
    assert adj_t.to("cpu").dtype == torch.int64
