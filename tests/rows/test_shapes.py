"""Reshaped, reordered and repeated rows are those of one process, whatever this rank has of them."""

import pytest
import torch

from fullgraph.comm import World
from fullgraph.rows import Rows
from fullgraph.rows.routes import way
from fullgraph.rows.tensor import local
from tests.ranks import run_ranks
from tests.rows.comparing import Case, Data, differences, not_raised, rows_of

N = 6


def _data() -> Data:
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    return {
        "x": (draw(N, 4), 0),
        "v": (draw(N), 0),
        "one": (draw(N, 1), 0),
        "b": (draw(N, 2, 3), 0),
        "c": (draw(2, N, 3), 1),
        "k": (draw(1, N, 1, 2), 1),
        "i": (torch.arange(N * 3).view(N, 3), 0),
        "row": (draw(4), None),
        "X": (draw(N, 4), None),
        "flat": (draw(N * 4), None),
    }


CASES: dict[str, Case] = {
    "unsqueeze": lambda d: (d.x.unsqueeze(0), d.x.unsqueeze(1), d.x.unsqueeze(-1), torch.unsqueeze(d.v, dim=-2)),
    "unsqueeze_": lambda d: d.x.clone().unsqueeze_(0),
    "squeeze": lambda d: (d.one.squeeze(), d.k.squeeze(), d.k.squeeze(0), d.k.squeeze(-2), d.k.squeeze((0, 1))),
    "squeeze nothing": lambda d: (d.x.squeeze(), d.x.squeeze(0), torch.squeeze(d.one, dim=1)),
    "squeeze_": lambda d: d.k.clone().squeeze_(),
    "transpose": lambda d: (d.x.transpose(0, 1), d.c.transpose(-1, 1), d.b.swapaxes(1, 2), d.b.swapdims(0, 2)),
    "transpose by name": lambda d: torch.transpose(d.x, dim0=0, dim1=-1),
    "transposed": lambda d: (d.x.t(), d.x.T, d.b.mT, d.c.adjoint(), d.x.H, d.c.mH, d.v.t()),
    "transposed in place": lambda d: d.x.clone().t_() + d.x.clone().transpose_(0, 1),
    "permute": lambda d: (d.b.permute(2, 0, 1), d.c.permute((1, 0, 2)), torch.permute(d.c, dims=(-1, 1, 0))),
    "movedim": lambda d: (
        d.b.movedim(0, -1),
        d.c.moveaxis((0, 1), (1, 2)),
        torch.movedim(d.b, source=0, destination=1),
    ),
    "view columns": lambda d: (d.x.view(N, 2, 2), d.b.view(-1, 6), d.b.view(d.b.size(0), -1), d.x.view((N, 4, 1))),
    "view of one column": lambda d: (d.one.view(-1), d.v.view(-1, 1), d.v.view(1, -1), d.k.view(N, 2)),
    "view of entries": lambda d: (d.x.view(-1), d.x.view(-1, 2), d.b.reshape(N * 2, 3), d.c.reshape(2, -1)),
    "and back": lambda d: (d.x.view(-1).relu().view(N, 4), d.x.view(-1, 2).view(-1, 4), d.x.view(-1).view(-1, 2)),
    "entries meet": lambda d: (d.x.view(-1) * d.flat, d.x.view(-1) + d.X.view(-1), d.x.view(-1, 2).view(-1) * d.flat),
    "rows after columns": lambda d: (d.x.T.reshape(-1), d.x.T.reshape(-1).view(4, N), d.v.repeat(6).view(2, 3, N)),
    "view of a kind": lambda d: d.i.view(torch.float64).view(torch.int64),
    "view_as": lambda d: (d.x.view_as(d.X), d.flat.view_as(d.x), d.X.reshape_as(d.x) * 2, d.b.reshape_as(d.b)),
    "flatten": lambda d: (
        d.b.flatten(1),
        d.b.flatten(),
        d.b.flatten(0, 1),
        torch.flatten(d.c, start_dim=1),
        d.v.flatten(),
    ),
    "ravel": lambda d: (d.x.ravel(), d.v.ravel()),
    "unflatten": lambda d: (d.x.unflatten(1, (2, -1)), torch.unflatten(d.x, dim=-1, sizes=(2, 2))),
    "unflatten entries": lambda d: d.x.view(-1).unflatten(0, (N, 4)),
    "expand": lambda d: (d.one.expand(-1, 3), d.one.expand(N, 5), d.v.expand(2, N), d.k.expand(2, N, -1, 2)),
    "expand by name": lambda d: (d.one.expand(size=(N, 2)), torch.broadcast_to(d.v, (3, -1))),
    "expand_as": lambda d: (d.one.expand_as(d.x), d.row.expand_as(d.x), d.one.expand_as(d.X), d.v.expand_as(d.x.T)),
    "broadcast_tensors": lambda d: torch.broadcast_tensors(d.one, d.row, d.X),
    "repeat": lambda d: (d.x.repeat(1, 2), d.x.repeat(3, 1, 2), d.v.repeat(2, 1), d.b.tile(2), d.x.tile((1, 2))),
    "repeat rows": lambda d: (d.x.repeat(2, 1), d.v.repeat(3), torch.tile(d.v, (2, 2)), d.c.repeat(2, 2, 1)),
    "repeat_interleave": lambda d: (d.x.repeat_interleave(2, 1), torch.repeat_interleave(d.c, 2, dim=0)),
    "repeat_interleave by each": lambda d: d.x.repeat_interleave(torch.tensor([1, 0, 2, 3]), dim=1),
    "repeat_interleave rows": lambda d: (
        d.x.repeat_interleave(3, 0),
        d.v.repeat_interleave(2),
        d.x.repeat_interleave(2),
    ),
    "repeated entries meet": lambda d: d.v.repeat_interleave(2).repeat_interleave(2, dim=0) * d.flat,
    "atleast": lambda d: (torch.atleast_1d(d.v), torch.atleast_2d(d.v), torch.atleast_3d(d.x), torch.atleast_3d(d.v)),
    "atleast of several": lambda d: torch.atleast_2d(d.v, d.row, d.x) + torch.atleast_3d([d.v]),
    "sums of repeated": lambda d: (d.x.view(-1).sum(), d.v.repeat(2).sum(), (d.x.view(-1, 2) * d.row[:2]).sum(1)),
}
REFUSED: dict[str, Case] = {
    "rows together": lambda d: d.x.view(2, -1),
    "rows together by half": lambda d: d.x.view(N // 2, 8),
    "rows' columns": lambda d: d.x.reshape(4, N),
    "unfold": lambda d: d.x.unfold(0, 2, 1),
    "repeats of each row": lambda d: d.x.repeat_interleave(torch.tensor([1, 2, 0, 1, 1, 1]), dim=0),
    "repeats that are rows": lambda d: d.x.repeat_interleave(d.i[:, 0], dim=0),
}
WRONG: dict[str, Case] = {
    "sizes": lambda d: d.x.view(N, 5),
    "two unknown": lambda d: d.x.view(-1, -1),
    "unflatten": lambda d: d.x.unflatten(1, (3, 2)),
    "expand": lambda d: d.x.expand(N + 1, 4),
    "expand fewer": lambda d: d.x.expand(4),
    "expand_as": lambda d: d.x.expand_as(d.row),
    "repeat fewer": lambda d: d.x.repeat(2),
    "flatten": lambda d: d.b.flatten(2, 1),
}
NO_DIMENSION: dict[str, Case] = {
    "unsqueeze": lambda d: d.x.unsqueeze(3),
    "squeeze": lambda d: d.x.squeeze(2),
    "transpose": lambda d: d.x.transpose(0, 2),
    "permute": lambda d: d.x.movedim(0, 2),
    "flatten": lambda d: d.x.flatten(0, 2),
    "repeat_interleave": lambda d: d.x.repeat_interleave(2, dim=2),
}


def _compare(world: World) -> list[str]:
    return differences(world, _data(), N, CASES)


def _refuse(world: World) -> list[str]:
    return (
        not_raised(world, _data(), N, REFUSED)
        + not_raised(world, _data(), N, WRONG, RuntimeError)
        + not_raised(world, _data(), N, NO_DIMENSION, IndexError)
    )


def _one_row(world: World) -> list[str]:
    data: Data = {"x": (torch.randn(1, 4, dtype=torch.float64), 0), "one": (torch.ones(1, 1, dtype=torch.float64), 0)}
    cases: dict[str, Case] = {
        "view": lambda d: (d.x.view(-1), d.x.view(1, 4), d.x.view(1, 2, 2), d.x.view(-1, 2), d.x.view(1, 1, 4)),
        "squeeze": lambda d: (d.one.squeeze(1), d.x.squeeze(1)),
        "expand": lambda d: (d.x.expand(3, 4), d.x.expand(2, 1, 4), d.x.expand(2, 3, 4), d.one.expand(3, 4)),
    }
    refused: dict[str, Case] = {"squeeze": lambda d: d.x.squeeze()}
    return differences(world, data, 1, cases) + not_raised(world, data, 1, refused)


def _no_rows(world: World) -> list[str]:
    data: Data = {"x": (torch.zeros(0, 4, dtype=torch.float64), 0)}
    cases: dict[str, Case] = {
        "view": lambda d: (d.x.view(-1), d.x.view(-1, 2), d.x.view(0, 4), d.x.view(0, 2, 2), d.x.T),
        "repeat": lambda d: (d.x.repeat(2, 1), d.x.repeat_interleave(2, 0), d.x.unsqueeze(1).expand(0, 3, 4)),
    }
    return differences(world, data, 0, cases)


def _in_place(world: World) -> list[str]:
    """A view is one: what is written into it is in the rows too."""
    given = rows_of(world, _data(), N)
    x = given.x.detach().clone()
    before = local(x).clone()
    x.view(-1).add_(1)
    x.T.mul_(2)
    x.unsqueeze(1).squeeze(1).view(N, 2, 2).sub_(3)
    assert torch.equal(local(x), (before + 1) * 2 - 3)
    return []


def _ways(world: World) -> list[str]:
    """Views of ids know the ways that the ids know, and no others do."""
    given = rows_of(world, {"i": (torch.arange(N), 0), "x": (torch.ones(N, 2), 0)}, N)
    ids, space = given.i, given.x._space
    route = way(ids, space)
    for view in (ids.view(-1, 1).expand(-1, 3), ids.unsqueeze(1).squeeze(1), ids[:, None].expand_as(given.x)):
        assert isinstance(view, Rows)
        assert view.__dict__["_ways"][space][1] is route
    for other in (ids.repeat(2), ids.repeat_interleave(2), ids[:, None].repeat(1, 2).view(-1)):
        assert "_ways" not in other.__dict__
    return []


@pytest.mark.parametrize("num_ranks", [1, 3])
@pytest.mark.parametrize("check", [_compare, _refuse, _one_row, _no_rows, _in_place, _ways])
def test_shapes_are_those_of_the_whole_graph(check, num_ranks: int) -> None:
    assert run_ranks(num_ranks, check) == [[]] * num_ranks
