"""No third outcome for a share of torch's functions, and the test that says so finds faults out."""

from typing import Any

import pytest
import torch
from torch import Tensor

from fullgraph.rows import Rows
from fullgraph.rows.tensor import local
from tests.rows.differential import EQUAL, REFUSED, compare_function, run, share
from tests.rows.simulated import meeting

_SEED = 1
_SHARES = 12


@pytest.mark.parametrize(("num_ranks", "enough"), [(1, 1000), (3, 1000)])
def test_every_function_is_as_on_whole_tensors_or_refused(num_ranks: int, enough: int):
    report = run(share(num_ranks % _SHARES, _SHARES, _SEED), num_ranks)
    assert not report.faults, str(report)
    assert report.counts[EQUAL] > enough, str(report)
    assert report.counts[REFUSED] > 50, str(report)


def _sum_of_own_rows(x: Tensor) -> Tensor:
    return local(x).sum() if isinstance(x, Rows) else x.sum()


def _sum_where_rows_are(x: Tensor) -> Tensor:
    if isinstance(x, Rows) and len(local(x)):
        x._space.view.sum(torch.ones(1))
    return x.sum()


def _fails_where_rows_are(x: Tensor) -> Tensor:
    if isinstance(x, Rows) and len(local(x)):
        raise ValueError("rows")
    return x * 2


def _forgets_gradients(x: Tensor) -> Tensor:
    return x.detach().sum() + 0 * x.sum() if isinstance(x, Rows) else x.sum()


def _keeps_what_it_gives_away(x: Tensor) -> Tensor:
    return x if isinstance(x, Rows) else x.clone()


def _wrong_type(x: Tensor) -> Any:
    if isinstance(x, Rows):
        raise KeyError("x")
    return x.sum()


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (_sum_of_own_rows, "different"),
        (_sum_where_rows_are, "hang"),
        (_fails_where_rows_are, "disagree"),
        (_forgets_gradients, "different"),
        (_keeps_what_it_gives_away, "alias"),
        (_wrong_type, "crashed"),
    ],
)
def test_a_function_that_is_wrong_is_found(function: Any, kind: str):
    with meeting(3) as ranks:
        report = compare_function("wrong", function, ranks, ["x", "y", "x, 1"])
    assert [fault.kind for fault in report.faults] == [kind, kind]
    assert {fault.pattern for fault in report.faults} == {"x", "y"}
