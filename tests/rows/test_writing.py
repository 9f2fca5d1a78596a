"""What an index writes or adds up is as on one process, whichever rank has the row; and so are PyG's reductions."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.nn.aggr import MultiAggregation
from torch_geometric.utils import degree, scatter, softmax

from fullgraph.comm import World
from fullgraph.rows import Rows
from tests.ranks import run_ranks
from tests.rows.comparing import Case, Data, differences, not_raised

N, M = 7, 15


def _data() -> Data:
    generator = torch.Generator().manual_seed(5)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    def ids(high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=generator)

    return {
        "x": (draw(N, 4), 0),
        "z": (draw(N, 4), 0),
        "v": (draw(N), 0),
        "c": (draw(2, N, 3), 1),
        "b": (draw(N, 4, 2), 0),
        "n": (ids(N, N), 0),  # ids of rows, some of them twice
        "perm": (torch.randperm(N, generator=generator), 0),
        "y": (ids(4, N), 0),  # ids of columns
        "group": (ids(3, N), 0),
        "level": (ids(3, N, 4).double() + 1, 0),  # values with ties
        "mask": (draw(N) > 0, 0),
        "none": (draw(N) > 9, 0),
        "m": (draw(N, 4) > 0, 0),
        "k": (ids(9, N), 0),
        "X": (draw(N, 4), None),
        "V": (draw(N), None),
        "row": (draw(4), None),
        "s": (draw(), None),
        "MASK": (draw(N) > 0, None),
        "MM": (draw(N, 4) > 0, None),
        "I": (torch.tensor([3, -1, 5, 0]), None),
        "I2": (torch.tensor([[3, -1], [0, 2]]), None),
        "J": (torch.tensor([2, 0, 1, 3]), None),
        "XI": (draw(4, 4), None),
        "acc": (draw(3, 4), None),
        "acc_v": (draw(3), None),
        "table": (draw(N, 4), None),
    }


def put(x: Tensor, key: Any, value: Any) -> Tensor:
    """A copy of ``x`` after ``copy[key] = value``."""
    x = x * 1
    x[key] = value
    return x


def added(x: Tensor, key: Any, value: Tensor) -> Tensor:
    """A copy of ``x`` after ``copy[key] += value``."""
    x = x * 1
    x[key] += value
    return x


def wide(index: Tensor, like: Tensor, dim: int = 0) -> Tensor:
    """``index`` in each column, as PyG has it."""
    shape = [1] * like.dim()
    shape[dim] = -1
    return index.view(shape).expand_as(like)


SETTING: dict[str, Case] = {
    "everything": lambda d: (put(d.x, ..., 1), put(d.x, slice(None), d.z), put(d.x, ..., d.X), put(d.x, ..., d.row)),
    "columns": lambda d: (
        put(d.x, (slice(None), 1), d.v),
        put(d.x, (..., 1), d.V),
        put(d.x, (slice(None), slice(1, 3)), d.z[:, :2]),
        put(d.x, (slice(None), [0, 2]), d.z[:, :2]),
        put(d.c, 1, d.c[0]),
        put(d.b, (slice(None), [0, 3], [1, 0]), d.x[:, :2]),
        put(d.b, (slice(None), slice(None), 0), 2.0),
    ),
    "slices": lambda d: (
        put(d.x, slice(1, 5), 0),
        put(d.x, slice(1, 5), d.z[1:5]),
        put(d.x, slice(2, 4), d.X[:2]),
        put(d.x, slice(None, None, 2), d.row),
        put(d.x, (slice(1, 4), [0, 2]), d.z[1:4, :2]),
        put(d.c, (slice(None), slice(5, 1)), d.s),
        put(d.x, slice(1, 3), d.z[d.I[:2]]),
        put(d.x, slice(0, 4), d.XI.float()),
    ),
    "a row": lambda d: (
        put(d.x, 3, d.row),
        put(d.x, -1, d.s),
        put(d.x, (2, 1), 7),
        put(d.x, (2, [0, 3]), d.row[:2]),
        put(d.c, (slice(None), 4), d.XI[:2, :3]),
        put(d.v, d.I[1], d.s),
        put(d.x, (5, None), d.row),
        put(d.x, 0, d.X[1:2]),
    ),
    "masks": lambda d: (
        put(d.x, d.mask, 0),
        put(d.x, d.MASK, d.s),
        put(d.x, d.mask, d.z[d.mask]),
        put(d.x, d.mask, d.row),
        put(d.x, d.MASK, d.X[d.MASK]),
        put(d.v, d.v > 0, 0.5),
        put(d.c, (slice(None), d.mask), 1.0),
        put(d.x, (d.mask, 1), d.v[d.mask]),
        put(d.x, (d.mask, d.y[d.mask]), 3.0),
        put(d.x, d.none, d.z[d.none]),
        put(d.x, d.mask, d.x[d.mask][:1].detach())
        if not isinstance(d.x, Rows)
        else put(d.x, d.mask, d.x[d.mask.nonzero()[0, 0]].detach()),
    ),
    "masks of entries": lambda d: (
        put(d.x, d.m, 0.0),
        put(d.x, d.MM, d.s),
        put(d.x, d.m, d.z[d.m]),
        put(d.b, d.m, d.b[d.m].flip(1)),
        put(d.x, d.MM, d.X[d.MM]),
    ),
    "ids": lambda d: (
        put(d.x, d.I, 0),
        put(d.x, d.I, d.XI),
        put(d.x, d.I, d.z[d.I]),
        put(d.x, d.I2, d.row),
        put(d.x, d.I2, d.XI.view(2, 2, 4)),
        put(d.x, (d.I, d.J), d.row),
        put(d.x, (d.I, 1), d.row),
        put(d.b, (d.I, slice(None), d.J % 2), d.XI),
        put(d.c, (slice(None), d.I), d.s),
        put(d.x, [1, 2], d.X[:2]),
    ),
    "ids of rows": lambda d: (
        put(d.x, d.perm, d.z),
        put(d.x, d.n, 2.0),
        put(d.v, d.perm, d.V),
        put(d.x, (d.perm, d.y), d.v),
        put(d.x, (torch.arange(N), d.y), d.v),
        put(d.x, (d.perm, 1), d.v),
        put(d.c, (slice(None), d.perm), d.c[:1]),
        put(d.b, (d.perm, slice(None), d.y % 2), d.z),
        put(d.x, d.perm[d.mask], d.z[d.mask]),
    ),
    "the last of several": lambda d: (put(d.x.detach(), d.n, d.z.detach()), put(d.k, d.n, d.y)),
    "added": lambda d: added(d.x, d.mask, d.z[d.mask]),
    "into what every rank has": lambda d: (
        put(d.table, d.mask, 0.0),
        put(d.table, d.mask, d.x[d.mask]),
        put(d.table, 0, d.v[:4]),
        put(d.table, slice(None), d.x),
        put(d.table, (d.n, d.y), 2.0),
    ),
    "index_put": lambda d: (
        d.x.index_put((d.I,), d.XI),
        d.x.index_put((d.n,), d.z, accumulate=True),
        d.x.index_put((d.n, d.y), d.v, accumulate=True),
        (d.x * 1).index_put_((d.mask,), d.s, accumulate=True),
        d.c.index_put((torch.tensor([0, 0]), torch.tensor([1, 1])), d.XI[:2, :3], accumulate=True),
        d.acc.index_put((d.group, d.y), d.v, accumulate=True),
        (d.acc * 1).index_put_((d.group,), d.x, accumulate=True),
        (d.acc_v * 1).index_put_((d.group,), d.s, accumulate=True),
    ),
    "index_fill": lambda d: (
        d.x.index_fill(0, d.I, 2.0),
        d.x.index_fill(1, d.J[:2], d.s),
        (d.x * 1).index_fill_(0, d.n, d.s),
    ),
    "index_copy": lambda d: (
        d.x.index_copy(0, d.I.abs(), d.XI),
        d.x.index_copy(0, d.perm, d.z),
        (d.x * 1).index_copy_(1, d.J[:2], d.z[:, :2]),
    ),
}

SCATTERING: dict[str, Case] = {
    "repeated ids": lambda d: d.x.scatter_add(0, d.n[:, None].repeat(1, 4), d.z),
    "ids in memory of their own": lambda d: d.x.scatter_add(0, d.n[:, None].expand(-1, 4).contiguous(), d.z),
    "stacked ids": lambda d: d.x.scatter_add(0, torch.stack([d.n] * 4, 1), d.z),
    "within rows": lambda d: (
        torch.zeros_like(d.x).scatter_(1, d.y[:, None], 1),
        d.x.scatter(1, d.y[:, None], d.v[:, None]),
        d.x.scatter_add(1, d.y.view(-1, 1), d.X.detach()),
        d.X.scatter(1, d.y[:, None], 1.0),
        d.X.scatter_add(-1, d.y[:, None].expand(-1, 2), d.x[:, :2]),
        d.X.scatter_add(-1, d.y[:, None], d.x.detach()),
        d.x.scatter_reduce(1, d.y[:, None].expand(-1, 4), d.z, "amax"),
        d.x.index_add(1, d.J, d.z, alpha=2),
        d.x.index_reduce(1, d.J % 2, d.X, "mean", include_self=False),
        d.x.scatter(1, d.y[:, None], 2.0, reduce="multiply").detach(),
        d.X.index_add(1, d.J, d.x),
    ),
    "sums": lambda d: (
        d.x.index_add(0, d.n, d.z),
        d.x.index_add(0, d.n, d.X, alpha=-3),
        d.x.index_add(0, d.I.abs(), d.XI),
        (d.x * 1).index_add_(0, d.n, d.z),
        torch.zeros_like(d.x).index_add_(0, d.n, d.z),
        torch.scatter_add(d.x, dim=0, index=wide(d.n, d.z), src=d.z),
        torch.zeros_like(d.v).scatter_add_(0, d.n, d.v),
        torch.zeros_like(d.v).scatter_add_(0, d.n, d.V),
        d.x.scatter_add(0, wide(d.n, d.z)[:, :2], d.z.detach()),
        d.c.scatter_add(1, wide(d.n, d.c, 1), d.c),
        d.x.scatter_reduce(0, wide(d.n, d.z), d.z, reduce="sum", include_self=False),
        d.k.index_add(0, d.n, d.y),
        d.x.scatter(0, wide(d.n, d.z), d.z.detach(), reduce="add").detach(),
    ),
    "at the last": lambda d: (
        d.x.scatter(0, wide(d.perm, d.z), d.z),
        d.x.scatter(0, wide(d.n, d.z), 2.0),
        d.k.scatter(0, d.n, d.y),
        d.v.detach().scatter(0, d.n, d.v.detach()),
    ),
    **{
        f"{reduce}, {'with' if include_self else 'without'} self": lambda d, r=reduce, s=include_self: (
            d.x.scatter_reduce(0, wide(d.n, d.z), d.z, r, include_self=s),
            (d.level * 1).scatter_reduce_(0, wide(d.n, d.level), d.level, r, include_self=s),
            d.x.index_reduce(0, d.n, d.z, r, include_self=s),
            d.acc.scatter_reduce(0, wide(d.group, d.z), d.z, r, include_self=s),
            (d.acc * 1).scatter_reduce_(0, wide(d.group, d.level), d.level, r, include_self=s),
            torch.zeros(3, 4).double().scatter_reduce_(0, wide(d.group, d.level), d.level, r, include_self=s),
            torch.zeros(5, 4).double().index_reduce_(0, d.group, d.z, r, include_self=s),
            torch.ones(3, dtype=torch.long).scatter_reduce(0, d.group, d.k, r, include_self=s),
            d.acc.T.scatter_reduce(1, wide(d.group, d.z.T, 1), d.z.T, r, include_self=s),
        )
        for reduce in ("prod", "mean", "amax", "amin")
        for include_self in (True, False)
    },
    "into what every rank has": lambda d: (
        torch.zeros(3, 4).double().index_add_(0, d.group, d.x),
        d.acc.index_add(0, d.group, d.x, alpha=2),
        (d.acc * 1).scatter_add_(0, wide(d.group, d.x), d.x),
        torch.zeros(3).double().scatter_add_(0, d.group, d.v),
        d.acc_v.scatter_add(0, d.group, d.V),
        d.acc.scatter_add(0, d.group[:, None].expand(-1, 2), d.x.detach()),
        torch.zeros(4, 4).double().scatter_add(0, (d.y[:, None] + d.J) % 4, d.x),
        torch.zeros(4, dtype=torch.long).index_add_(0, d.y, torch.ones_like(d.y)),
        torch.zeros(3, 4).double().index_add_(0, d.k.new_tensor([0, 1, 2, 0, 1, 2, 0]), d.x),
        d.acc.scatter_reduce(0, wide(d.group, d.x), d.x, "sum", include_self=False),
        torch.zeros(3, dtype=torch.bool).scatter(0, d.group, d.mask),
        torch.zeros(5).double().scatter_(0, d.group, 1.0),
        d.acc_v.scatter(0, d.group, d.v),
        d.acc.detach().half().index_add(0, d.group, d.x.detach().half()).double().round(decimals=1),
    ),
    "what is not a number": lambda d: (
        d.acc.detach().scatter_reduce(0, wide(d.group, d.z), d.z.detach().log(), "amax"),
        d.acc.detach().scatter_reduce(0, wide(d.group, d.z), -(d.z.detach().exp() / 0), "amin", include_self=False),
    ),
    "used again": lambda d: (
        d.acc.index_add(0, d.group, d.x)[d.group] * d.x,
        torch.zeros(3).double().index_add_(0, d.group, d.v)[d.group] + d.v,
    ),
}


def _pyg(d: SimpleNamespace) -> list[Tensor]:
    found = []
    sized = (N, d.x.size(0))  # a plain number: what every rank has; one that rows give: rows
    for reduce in ("sum", "mean", "min", "max", "mul"):
        found += [
            scatter(d.x, d.group, 0, 3, reduce),
            scatter(d.v, d.group, reduce=reduce),
            scatter(d.c, d.n, 1, N, reduce),
        ]
        found += [scatter(d.level, d.group, 0, 4, reduce), *[scatter(d.z, d.n, 0, size, reduce) for size in sized]]
        found += [scatter(d.x, d.J % 2, 1, 2, reduce)]
    found += [
        scatter(d.k, d.n, 0, N, "any"),
        scatter(d.mask, d.group, 0, 3, "any"),
        scatter(d.y, d.n, 0, d.x.size(0), "any"),
    ]
    found += [softmax(d.x, d.group), softmax(d.v, d.n, num_nodes=N), softmax(d.c, d.n, dim=1, num_nodes=N)]
    found += [softmax(d.z, d.n, num_nodes=d.x.size(0)), degree(d.n, N), degree(d.n, d.x.size(0), torch.long)]
    found += [degree(d.group, dtype=torch.float64)]
    return found


PYG: dict[str, Case] = {
    "scatter, softmax, degree": _pyg,
    "aggregations": lambda d: (
        MultiAggregation(["sum", "mean", "max", "min", "mul", "var", "std"])(d.x, d.group, dim_size=3),
        MultiAggregation(["softmax", "powermean"])(d.level, d.group),
    ),
}
CASES = {**SETTING, **SCATTERING, **PYG}
ONCE: set[str] = set()

REFUSED: dict[str, Case] = {
    "rows into one row": lambda d: put(d.x, 0, d.v[:4]),
    "ids of several dimensions": lambda d: put(d.x, (d.n[:, None] + d.J) % N, 0.0),
    "scatter in place": lambda d: d.table.detach().scatter_(1, d.y[:, None], 1.0),
    "another index in each column": lambda d: d.x.scatter_add(0, (d.n[:, None] + d.J) % N, d.z),
    "masked_scatter": lambda d: d.x.masked_scatter(d.m, d.z),
    "put": lambda d: d.x.put(d.n, d.v),
    "fewer ids than values": lambda d: d.x.scatter_add(0, wide(d.n, d.z)[:5], d.z),
    "out of other rows": lambda d: torch.exp(d.x.detach()[d.I], out=d.z.detach()[d.J]),
    "out": lambda d: torch.scatter_add(d.x, 0, wide(d.n, d.z), d.z, out=d.x),
}
RUNTIME_ERRORS: dict[str, Case] = {
    "sizes": lambda d: put(d.x, slice(0, 3), d.z[:4]),
    "dtypes": lambda d: d.x.index_add(0, d.n, d.z.float()),
    "dtypes of a mask": lambda d: put(d.x, d.mask, d.z[d.mask].float()),
    "an unknown reduction": lambda d: d.x.scatter_reduce(0, wide(d.n, d.z), d.z, "median"),
    "columns": lambda d: d.x.index_add(0, d.n, d.z[:, :2]),
    "a source": lambda d: d.x.index_copy(0, d.n, d.z[:, :1]),
}
INDEX_ERRORS: dict[str, Case] = {
    "a row": lambda d: put(d.x, N, 0.0),
    "ids": lambda d: put(d.x, torch.tensor([N]), 0.0),
    "a mask": lambda d: put(d.x, d.MASK[1:], 0.0),
    "a dimension": lambda d: d.x.index_add(2, d.n, d.z),
}


def _check(world: World) -> list[str]:
    return differences(world, _data(), N, CASES)


@pytest.mark.filterwarnings("ignore:.*is in beta.*", "ignore:The reduce argument of torch.scatter")
@pytest.mark.parametrize("num_ranks", [1, 3])
def test_as_on_one_process(num_ranks: int) -> None:
    assert run_ranks(num_ranks, _check) == [[]] * num_ranks


def _check_errors(world: World) -> list[str]:
    found = not_raised(world, _data(), N, REFUSED)
    for error, cases in ((RuntimeError, RUNTIME_ERRORS), (IndexError, INDEX_ERRORS)):
        found += not_raised(world, _data(), N, cases, error)
    return found


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_errors(num_ranks: int) -> None:
    assert run_ranks(num_ranks, _check_errors) == [[]] * num_ranks
