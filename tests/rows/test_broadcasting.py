"""One row beside many is repeated for each of them, as on one process; its gradient is the sum of what they give."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.comm import World
from fullgraph.errors import UnsupportedOperation
from fullgraph.rows import distribute, gather
from tests.ranks import run_ranks
from tests.rows.spaces import node_space

N = 11
PROGRAMS: dict[str, Callable[[Tensor], Tensor]] = {
    "sub": lambda x: x - x[:1],
    "from the one": lambda x: x[-1:] - x,
    "where": lambda x: torch.where(x > 0, x, x[3:4]),
    "by id": lambda x: x * x[[2]],
    "three": lambda x: torch.addcmul(x, x[:1], x, value=0.5),
    "in place": lambda x: x.clone().mul_(x[:1]),
    "columns": lambda x: x.t() + x.t()[:, 4:5],
    "expand": lambda x: x[:1].expand(N, 3) * x,
    "expand_as": lambda x: x[:1].expand_as(x) * x,
    "loss": lambda x: F.smooth_l1_loss(x, x[:1].expand_as(x), reduction="none"),
    "similarity": lambda x: F.cosine_similarity(x, x[:1]),
    "only rows": lambda x: x[:1] + x[:1].exp(),
}


def _check(world: World) -> None:
    given = torch.randn(N, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for name, program in PROGRAMS.items():
        whole, own = given.clone().requires_grad_(), given.clone().requires_grad_()
        right, mine = program(whole), program(distribute(own, node_space(world, N)))
        torch.testing.assert_close(gather(mine.detach()), right.detach(), msg=name)
        right.square().sum().backward()
        mine.square().sum().backward()
        assert whole.grad is not None
        torch.testing.assert_close(own.grad, whole.grad, msg=name)


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_one_row_among_many(num_ranks: int) -> None:
    run_ranks(num_ranks, _check)


def _refusals(world: World) -> list[str]:
    x, found = distribute(torch.ones(N, 3), node_space(world, N)), []
    for program in (lambda: x[:1] * torch.ones(5, 3), lambda: torch.maximum(torch.ones(3, 2), x.t()[:, :1])):
        with pytest.raises(UnsupportedOperation) as raised:
            program()
        found.append(str(raised.value))
    return found


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_beside_what_every_rank_has_it_is_refused(num_ranks: int) -> None:
    for found in run_ranks(num_ranks, _refusals):
        assert all("would repeat the only row (write x[0])" in text for text in found)
