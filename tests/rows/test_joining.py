"""Tensors joined and split along rows and along columns are those of one process."""

import pytest
import torch

from fullgraph.comm import World
from fullgraph.rows import LooksBeyondPiece
from fullgraph.rows.tensor import local, rows
from tests.ranks import run_ranks
from tests.rows.comparing import Case, Data, differences, not_raised, rows_of

N = 7


def _data() -> Data:
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    return {
        "x": (draw(N, 4), 0),
        "y": (draw(N, 2), 0),
        "v": (draw(N), 0),
        "b": (draw(N, 2, 4), 0),
        "e": (torch.arange(2 * N).view(2, N), 1),
        "c": (draw(2, N, 3), 1),
        "X": (draw(N, 4), None),
        "few": (draw(2, 4), None),
        "long": (draw(N), None),
    }


CASES: dict[str, Case] = {
    "columns": lambda d: (
        torch.cat([d.x, d.y], 1),
        torch.cat((d.X, d.y), dim=-1),
        torch.concat([d.y, d.y], 1),
    ),
    "columns of matrices": lambda d: (torch.cat([d.c, d.c]), torch.concatenate([d.b, d.X[:, None]], dim=1)),
    "nothing": lambda d: (torch.cat([torch.empty(0), d.x], 1), torch.cat([torch.empty(0), d.x])),
    "rows": lambda d: (torch.cat([d.x, d.x * 2]), torch.cat([d.v, d.v, d.v]), torch.cat([d.c, d.c], 1)),
    "rows and others": lambda d: (torch.cat([d.x, d.few]), torch.cat([d.few, d.x, d.few * 2], dim=0)),
    "rows of another type": lambda d: torch.cat([d.v, torch.arange(3)]),
    "one": lambda d: torch.cat([d.x]) + d.x,
    "joined meet": lambda d: torch.cat([d.x, d.few]) * torch.cat([d.X, d.few]),
    "joined sum": lambda d: (torch.cat([d.x, d.few]).sum(0), torch.cat([d.x, d.x]).T @ torch.cat([d.X, d.x])),
    "stack": lambda d: (torch.stack([d.x, d.X]), torch.stack((d.v, d.v), 1), torch.stack([d.c, d.c], dim=-1)),
    "stack between": lambda d: torch.stack([d.x, d.x], 1),
    "hstack": lambda d: (torch.hstack([d.x, d.y]), torch.hstack([d.v, d.long])),
    "vstack": lambda d: (torch.vstack([d.x, d.few]), torch.vstack([d.v, d.long]), torch.row_stack([d.x, d.x])),
    "dstack": lambda d: (torch.dstack([d.x, d.X]), torch.dstack((d.v, d.v))),
    "column_stack": lambda d: (torch.column_stack([d.v, d.x, d.long]), torch.column_stack([d.x])),
    "split": lambda d: (d.x.split(3, 1), torch.split(d.x, [1, 3], dim=1), d.x.split_with_sizes([2, 2], -1)),
    "chunk": lambda d: (d.x.chunk(2, dim=-1), torch.chunk(d.b, 2, 1), d.x.unsafe_chunk(3, 1), d.x.unsafe_split(2, 1)),
    "tensor_split": lambda d: (d.x.tensor_split(3, dim=1), torch.tensor_split(d.x, (1, 3), dim=1)),
    "hsplit": lambda d: (d.x.hsplit(2), torch.dsplit(d.c, 3)),
    "split rows": lambda d: (d.x.split(3), torch.split(d.v, [2, 4, 1]), d.c.split_with_sizes([5, 2], 1)),
    "chunk rows": lambda d: (d.x.chunk(3), d.v.chunk(2), torch.chunk(d.c, 2, dim=1), d.x.chunk(1), d.x.chunk(20)),
    "tensor_split rows": lambda d: (d.x.tensor_split(3), d.v.tensor_split((2, 2, 5)), d.v.tensor_split([5, 3])),
    "tensor_split by a tensor": lambda d: d.x.tensor_split(torch.tensor([2, 3])),
    "vsplit rows": lambda d: (torch.vsplit(d.x, (2, 3)), d.x.vsplit(7), d.v.hsplit([3])),
    "split meets": lambda d: d.x.split([3, 4])[0] * d.X[:3],
    "split and joined": lambda d: torch.cat(d.x.split(2)) * d.X,
    "unbind": lambda d: (d.x.unbind(1), d.c.unbind(), torch.unbind(d.b, dim=-1)),
    "unpacked": lambda d: sum(d.e),
}
REFUSED: dict[str, Case] = {
    "rows and columns": lambda d: torch.cat([d.x, d.v[None]], 1),
    "unbind": lambda d: d.x.unbind(),
    "places of rows": lambda d: d.x.tensor_split(d.e[0]),
    "iteration": lambda d: list(d.x),
    "meshgrid": lambda d: torch.meshgrid(d.v, d.v, indexing="ij"),
    "cartesian_prod": lambda d: torch.cartesian_prod(d.v, d.v),
    "block_diag": lambda d: torch.block_diag(d.x, d.x),
    "out": lambda d: torch.cat([d.x, d.y], 1, out=torch.empty(N, 6)),
}
WRONG: dict[str, Case] = {
    "columns of others": lambda d: torch.cat([d.x, d.few], 1),
    "rows of other columns": lambda d: torch.cat([d.x, d.y]),
    "dimensions": lambda d: torch.cat([d.x, d.b]),
    "stack": lambda d: torch.stack([d.x, d.y]),
    "split": lambda d: d.x.split([3, 3]),
    "vsplit": lambda d: d.x.vsplit(3),
}
NO_DIMENSION: dict[str, Case] = {
    "cat": lambda d: torch.cat([d.x, d.x], 2),
    "stack": lambda d: torch.stack([d.x, d.x], 3),
    "split": lambda d: d.x.split(2, 2),
    "unbind": lambda d: d.x.unbind(2),
}


def _compare(world: World) -> list[str]:
    return differences(world, _data(), N, CASES)


def _pieces(world: World) -> list[str]:
    """Beside each other, pieces are joined; what is made of their rows would be taken for what is made of all."""
    x = rows_of(world, _data(), N).x
    own = min(1, x._space.num_own)
    part = rows(local(x)[:own], x._space.piece(slice(0, own), own))
    assert tuple(torch.cat([part, x], 1).shape) == (N, 8)
    for longer in (
        lambda: torch.cat([part, part]),
        lambda: part.split(3),
        lambda: part.view(-1)[: own * 4],
        lambda: part.repeat(2, 1),
    ):
        with pytest.raises(LooksBeyondPiece):
            longer()
    return []


def _refuse(world: World) -> list[str]:
    return (
        not_raised(world, _data(), N, REFUSED)
        + not_raised(world, _data(), N, WRONG, RuntimeError)
        + not_raised(world, _data(), N, NO_DIMENSION, IndexError)
    )


def _spaces(world: World) -> list[str]:
    given = rows_of(world, _data(), N)
    space = given.x._space
    assert torch.cat([given.x])._space is space
    assert torch.cat([given.x, given.x])._space == torch.cat([given.v, given.v])._space
    assert given.x.split(3)[0]._space == given.v.split(3)[0]._space == space.sliced(0, 3, 1)
    assert given.x.split(N)[0]._space is space
    return []


@pytest.mark.parametrize("num_ranks", [1, 3])
@pytest.mark.parametrize("check", [_compare, _refuse, _spaces, _pieces])
def test_joined_and_split_are_those_of_one_process(check, num_ranks: int) -> None:
    assert run_ranks(num_ranks, check) == [[]] * num_ranks
