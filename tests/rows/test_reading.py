"""What an index reads is what it reads on one process, whichever rank has it."""

import pytest
import torch
import torch.nn.functional as F

from fullgraph.comm import World
from fullgraph.rows import Rows, gather
from fullgraph.rows.routes import ways_of
from fullgraph.rows.tensor import local
from tests.ranks import run_ranks
from tests.rows.comparing import Case, Data, differences, not_raised, rows_of

N = 7


def _data() -> Data:
    generator = torch.Generator().manual_seed(4)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    def ids(high: int, *shape: int) -> torch.Tensor:
        return torch.randint(high, shape, generator=generator)

    return {
        "x": (draw(N, 4), 0),
        "v": (draw(N), 0),
        "c": (draw(2, N, 3), 1),
        "b": (draw(N, 4, 2), 0),
        "n": (ids(N, N), 0),  # ids of rows
        "n_int": (ids(N, N).int() - N, 0),
        "nbrs": (ids(N, N, 3), 0),
        "pair": (ids(N, 2, N), 1),
        "y": (ids(4, N), 0),  # ids of columns
        "ys": (ids(4, N, 2), 0),
        "group": (ids(5, N), 0),
        "mask": (draw(N) > 0, 0),
        "none": (draw(N) > 9, 0),
        "m": (draw(N, 4) > 0, 0),
        "table": (draw(5, 4), None),
        "X": (draw(N, 4), None),
        "w": (draw(5), None),
        "MASK": (draw(N) > 0, None),
        "M": (draw(N, 4) > 0, None),
        "I": (torch.tensor([3, -1, 3, 0, 6]), None),
        "I2": (torch.tensor([[3, -1, 3], [0, 6, 1]]), None),
        "PERM": (torch.randperm(N, generator=generator), None),
        "J": (torch.tensor([2, 0, 1, 3, 0]), None),
        "cols": (torch.tensor([True, False, True, True]), None),
        "three": (torch.tensor(3), None),
    }


CASES: dict[str, Case] = {
    "whole": lambda d: (d.x[:], d.x[...], d.x[()], d.x[:, :], d.c[...]),
    "new dimensions": lambda d: (d.x[None], d.x[:, None], d.v[:, None], d.c[:, None, ..., None], d.v[None, :, None]),
    "columns": lambda d: (d.x[:, 1], d.x[..., -1], d.x[:, 1:3], d.x[:, ::2], d.c[1], d.c[0, :, 2], d.c[:, :, 1:]),
    "listed columns": lambda d: (d.x[:, [0, 2, 2]], d.x[:, d.cols], d.x[:, d.J], d.c[[1, 0, 1]], d.b[:, d.J[:2]]),
    "two listed dimensions": lambda d: (d.b[:, [0, 3, 1], [1, 0, 1]], d.c[[1, 0], :, [0, 2]], d.b[:, d.I2 % 4]),
    "a mask of columns": lambda d: (d.b[:, d.M[:4, :2]], d.b[:, d.cols, 0]),
    "a row": lambda d: (d.x[3], d.x[-1], d.x[d.three], d.v[2], d.c[:, 5], d.c[1, -2], d.b[4, :, 1]),
    "a row and more": lambda d: (d.x[2, 1], d.x[2, 1:3], d.x[2, [0, 0, 3]], d.b[1, None, d.cols], d.c[:, 0, d.J[:2]]),
    "a row of other kinds": lambda d: (
        d.mask[0],
        d.n[3],
        d.m[2],
        d.x.float()[1],
        d.n.to(torch.uint8)[4],
        d.x.half()[1],
    ),
    "slices": lambda d: (d.x[1:5], d.x[:-2], d.x[::2], d.x[5:1], d.x[4:5], d.c[:, 1:6:3], d.v[d.three :], d.x[0:99]),
    "slices of both": lambda d: (d.x[1:5, 1:3], d.x[2:, 0], d.b[:3, d.cols], d.b[1:, [0, 1, 3], 1], d.x[1:4, None]),
    "a slice of a slice": lambda d: (d.x[1:6][1:4], d.x[d.mask][1:], d.x[1:][d.n[1:].clamp(max=5)]),
    "masks": lambda d: (
        d.x[d.mask],
        d.v[d.MASK],
        d.x[d.MASK],
        d.c[:, d.mask],
        d.c[:, d.MASK],
        d.x[d.none],
        d.v[d.v > 0],
    ),
    "masks and columns": lambda d: (
        d.x[d.mask, 1],
        d.x[d.MASK, 1:3],
        d.b[d.mask, :, 1],
        d.x[d.mask, None],
        d.c[1, d.mask],
    ),
    "a list of bools": lambda d: d.x[[True, False, True, True, False, False, True]],
    "masks of entries": lambda d: (d.x[d.m], d.x[d.M], d.b[d.m], d.b[d.M], d.x[d.x > 0], d.n[d.n > 3]),
    "rows that meet": lambda d: (d.x[d.mask] * d.X[d.mask], d.x[d.mask] + d.v[d.mask][:, None], d.x[d.I] * d.X[d.I]),
    "rows that meet others": lambda d: (d.x[d.PERM] * d.x, d.x[d.mask] + d.x[: d.mask.sum()], d.x[d.I] * d.X[:5]),
    "ids": lambda d: (d.x[d.I], d.v[d.I], d.c[:, d.I], d.x[[3, -1, 0]], d.x[range(2, 6)], d.x[d.I.numpy()], d.x[[]]),
    "ids and columns": lambda d: (d.x[d.I, 1], d.x[d.I, 1:], d.c[1, d.I], d.b[d.I, None, :, 0], d.c[:, d.I, 1]),
    "ids of several dimensions": lambda d: (d.x[d.I2], d.v[d.I2], d.c[:, d.I2], d.x[d.I2[None]], d.x[d.I2][0]),
    "pairs": lambda d: (d.x[d.I, d.J], d.b[d.I, d.J], d.b[d.I, d.J, d.J % 2], d.b[d.I, :, d.J % 2], d.x[d.I, [2]]),
    "pairs of rows": lambda d: (d.x[torch.arange(N), d.y], d.x[d.n, d.y], d.c[:, d.n, d.y % 3], d.b[d.n, :, d.y % 2]),
    "pairs with masks": lambda d: (d.x[d.mask, d.y[d.mask]], d.x[d.MASK, d.y[d.MASK]], d.x[d.I, d.y[d.I]]),
    "pairs that broadcast": lambda d: (d.x[d.I[:, None], d.J[:3]], d.x[d.n[:, None], d.ys], d.b[d.I2, d.J[:3]]),
    "ids of rows": lambda d: (d.x[d.n], d.v[d.n], d.c[:, d.n], d.x[d.n_int], d.n[d.n], d.m[d.n], d.x[d.n[d.mask]]),
    "ids of rows, columns": lambda d: (d.x[d.n, 1], d.x[d.n, 1:], d.c[1, d.n], d.x[d.n, None]),
    "ids of rows, several": lambda d: (
        d.x[d.nbrs],
        d.v[d.nbrs],
        d.c[:, d.nbrs],
        d.x[d.n[:, None]],
        d.v[d.pair],
        d.x[d.pair],
    ),
    "edges": lambda d: (d.x[d.pair[0]] * d.x[d.pair[1]]).sum(-1),
    "a table": lambda d: (
        d.table[d.group],
        d.w[d.group],
        d.X[d.n],
        d.table[d.group, 1],
        d.table[:, d.y],
        d.w[d.nbrs % 5],
    ),
    "a table, pairs": lambda d: (
        d.table[d.group, d.y],
        d.table[d.group[:, None], d.ys],
        d.table[2, d.y],
        d.X[d.I[0], d.y],
    ),
    "a table with rows": lambda d: (
        d.X[d.mask],
        d.X[d.m],
        d.X[d.PERM][d.mask],
        d.X[d.mask, 1],
        d.X[d.mask, d.y[d.mask]],
    ),
    "of one row by rows": lambda d: d.x[2, d.y],
    "select": lambda d: (d.x.select(0, 2), d.x.select(1, -1), torch.select(d.c, dim=1, index=0), d.x.select(-2, -1)),
    "narrow": lambda d: (d.x.narrow(0, 2, 3), d.x.narrow(1, 1, 2), torch.narrow(d.c, dim=1, start=-3, length=2)),
    "index_select": lambda d: (
        d.x.index_select(0, d.I.abs()),
        d.x.index_select(1, d.J),
        torch.index_select(d.x, dim=0, index=d.n),
        d.table.index_select(0, d.group),
        d.table.index_select(1, d.y),
        d.x.index_select(0, d.three),
    ),
    "masked_select": lambda d: (
        d.x.masked_select(d.m),
        d.x.masked_select(d.M),
        d.v.masked_select(d.mask),
        d.x.masked_select(d.mask[:, None]),
        torch.masked_select(d.x, d.cols),
        d.X.masked_select(d.m),
    ),
    "nonzero": lambda d: (d.mask.nonzero(), d.m.nonzero(), d.mask.nonzero().view(-1), d.none.nonzero(), d.c.nonzero()),
    "nonzero as tuple": lambda d: (
        *d.m.nonzero(as_tuple=True),
        *torch.nonzero(d.y, as_tuple=True),
        torch.argwhere(d.m),
    ),
    "where": lambda d: (
        *torch.where(d.mask),
        *torch.where(d.m),
        torch.where(d.mask[:, None], d.x, d.X),
        d.x.where(d.m, 0.0),
    ),
    "gather in rows": lambda d: (
        d.x.gather(1, d.y[:, None]),
        d.x.gather(-1, d.ys),
        torch.gather(d.X, dim=1, index=d.ys),
        d.b.gather(1, d.ys[:, :, None].expand(-1, -1, 2)),
        d.c.gather(0, d.c.argmax(0, keepdim=True)),
        d.x.gather(1, d.M.long()),
    ),
    "gather rows": lambda d: (
        d.v.gather(0, d.n),
        d.x.gather(0, d.n[:, None].expand(-1, 4)),
        d.x.gather(0, d.n.view(-1, 1).expand_as(d.x)[:, :2]),
        d.c.gather(1, d.n[None, :, None].expand(2, -1, 3)),
        d.table.gather(0, d.ys),
        d.w.gather(0, d.group),
    ),
    "gather everywhere": lambda d: (
        d.x.gather(0, d.I2.abs()),
        d.v.gather(0, d.I.abs()),
        d.x.gather(0, d.x.argmax(0, True)),
    ),
    "take_along_dim": lambda d: (
        d.x.take_along_dim(d.y[:, None], 1),
        torch.take_along_dim(d.x, d.ys, dim=-1),
        d.x.take_along_dim(d.J[None], 1),
        d.X.take_along_dim(d.ys, 1),
        d.x.take_along_dim(d.n[:, None], 0),
        d.x.take_along_dim(d.I2.abs()[:, :1], 0),
        d.v.take_along_dim(d.n),
    ),
    "embedding": lambda d: (
        F.embedding(d.group, d.table),
        F.embedding(d.group, d.table, padding_idx=1),
        F.embedding(d.nbrs % 5, d.table),
        F.embedding(input=d.n, weight=d.x),
        F.embedding(d.n, d.x, padding_idx=int(d.PERM[0])),
        F.embedding(d.nbrs, d.x, -2),
        F.embedding(d.I2.abs(), d.x, padding_idx=3),
        torch.embedding(d.table, d.group),
    ),
    "embedding_bag": lambda d: (
        F.embedding_bag(d.nbrs % 5, d.table),
        F.embedding_bag(d.nbrs % 5, d.table, mode="sum", padding_idx=2),
        F.embedding_bag(d.nbrs % 5, d.table, mode="sum", per_sample_weights=d.b[:, :3, 0]),
    ),
}
ONCE = {"embedding_bag"}  # torch has no second derivative

REFUSED: dict[str, Case] = {
    "rows by columns": lambda d: d.x[:, d.y],
    "rows before rows": lambda d: d.table[d.group[:, None], d.y],
    "a mask and rows": lambda d: d.b[d.m, d.y % 2],
    "a mask of the last rows": lambda d: d.x.T[d.m.T],
    "one bool": lambda d: d.x[True],
    "bytes": lambda d: d.x[d.mask.to(torch.uint8)],
    "another id in each column": lambda d: d.x.gather(0, d.nbrs),
    "max_norm": lambda d: F.embedding(d.group, d.table, max_norm=1.0),
    "sparse": lambda d: F.embedding(d.group, d.table, sparse=True),
    "bags of a table of rows": lambda d: F.embedding_bag(d.nbrs, d.x),
    "out": lambda d: torch.index_select(d.x, 0, d.I, out=torch.zeros(5, 4)),
}
TORCHS: dict[str, Case] = {
    "too large": lambda d: d.x[N],
    "too small": lambda d: d.x[-N - 1],
    "too many": lambda d: d.x[0, 0, 0],
    "ids too large": lambda d: d.x[torch.tensor([0, N])],
    "ids of rows too large": lambda d: d.x[d.n + N],
    "a short mask": lambda d: d.x[d.MASK[1:]],
    "a short mask of entries": lambda d: d.x[d.M[:, 1:]],
    "numbers": lambda d: d.x[d.v],
    "pairs of other lengths": lambda d: d.x[d.I, d.J[:3]],
    "select": lambda d: d.x.select(0, N),
    "dimension": lambda d: d.x.index_select(2, d.I),
}
VALUE_ERRORS: dict[str, Case] = {"backwards": lambda d: d.x[::-1]}
RUNTIME_ERRORS: dict[str, Case] = {
    "narrow": lambda d: d.x.narrow(0, 3, N),
    "gather": lambda d: d.x.gather(0, d.I2 + N),
}


def _check(world: World) -> list[str]:
    found = differences(world, _data(), N, {n: case for n, case in CASES.items() if n not in ONCE})
    return found + differences(world, _data(), N, {name: CASES[name] for name in ONCE}, second=False)


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_as_on_one_process(num_ranks: int) -> None:
    assert run_ranks(num_ranks, _check) == [[]] * num_ranks


def _check_errors(world: World) -> list[str]:
    found = not_raised(world, _data(), N, REFUSED)
    for error, cases in ((IndexError, TORCHS), (ValueError, VALUE_ERRORS), (RuntimeError, RUNTIME_ERRORS)):
        found += not_raised(world, _data(), N, cases, error)
    return found


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_errors(num_ranks: int) -> None:
    assert run_ranks(num_ranks, _check_errors) == [[]] * num_ranks


def _check_ways(world: World) -> None:
    d = rows_of(world, _data(), N)
    assert d.x[d.n].shape == (N, 4)
    (known,) = ways_of(d.n).values()
    assert d.v[d.n[:, None]].shape == (N, 1)
    assert torch.zeros_like(d.x).scatter_add_(0, d.n.view(-1, 1).expand_as(d.x), d.x).shape == (N, 4)
    assert [*ways_of(d.n[:, None]).values(), *ways_of(d.n).values()] == [known, known]
    assert d.x[d.pair[1]].shape == (N, 4)
    assert len(ways_of(d.pair[1])) == 1
    assert not ways_of(d.pair[0])
    assert torch.equal(gather(d.x[d.nbrs]), gather(d.x)[gather(d.nbrs)])
    d.n.add_(1).remainder_(N)
    assert torch.equal(gather(d.x[d.n]), gather(d.x)[gather(d.n)])
    assert ways_of(d.n)[d.x._space][1] is not known[1]
    with torch.inference_mode():
        ids = d.n * 1
        assert torch.equal(gather(d.x[ids]), gather(d.x)[gather(ids)])
        assert torch.equal(gather(d.x[ids > 2]), gather(d.x)[gather(ids) > 2])


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_ids_know_their_ways_until_they_change(num_ranks: int) -> None:
    run_ranks(num_ranks, _check_ways)


def _check_stays(world: World) -> None:
    d = rows_of(world, _data(), N)
    for chosen in (d.x[d.I], d.x[d.mask], d.x[2:5]):
        assert len(local(chosen)) == len(chosen._space.chosen)
        assert chosen._space.parent is d.x._space
    assert d.x[d.MASK]._space is d.x[d.MASK]._space
    assert d.x[d.MASK.clone()]._space is d.x[d.MASK]._space
    assert not isinstance(d.x[3], Rows)


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_chosen_rows_stay_where_they_are(num_ranks: int) -> None:
    run_ranks(num_ranks, _check_stays)
