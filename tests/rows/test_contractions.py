"""Products over rows, columns and batches are those of one process."""

import pytest
import torch
import torch.nn.functional as F

from fullgraph.comm import World
from tests.ranks import run_ranks
from tests.rows.comparing import Case, Data, differences, not_raised

N = 7


def _data() -> Data:
    generator = torch.Generator().manual_seed(5)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    return {
        "x": (draw(N, 3), 0),
        "y": (draw(N, 4), 0),
        "v": (draw(N), 0),
        "u": (draw(N), 0),
        "b": (draw(N, 2, 3), 0),
        "c": (draw(2, N, 3), 1),
        "i": (torch.arange(N * 3).view(N, 3), 0),
        "W": (draw(4, 3), None),  # of a linear layer
        "M": (draw(3, 4), None),
        "X": (draw(N, 3), None),  # a row for each, on every rank
        "A": (draw(5, N), None),
        "bias": (draw(4), None),
        "long": (draw(N), None),
        "w": (draw(3), None),
        "S": (draw(2, 3, 4), None),
        "T": (draw(4, 3, 3), None),
        "B": (draw(N, 3, 2), None),
        "Q": (draw(2, N, 4), None),
    }


CASES: dict[str, Case] = {
    "x @ M": lambda d: d.x @ d.M,
    "A @ x": lambda d: d.A @ d.x,
    "matmul by name": lambda d: torch.matmul(input=d.x, other=d.M),
    "x.T @ y": lambda d: d.x.T @ d.y,
    "x.T @ X": lambda d: d.x.T @ d.X,
    "X.T @ x": lambda d: d.X.T @ d.x,
    "x @ w": lambda d: d.x @ d.w,
    "w @ x.T": lambda d: d.w @ d.x.T,
    "v @ x": lambda d: d.v @ d.x,
    "long @ x": lambda d: d.long @ d.x,
    "v @ u": lambda d: d.v @ d.u,
    "used again": lambda d: (d.x.T @ d.y).T @ d.x.T,
    "rmatmul": lambda d: d.x.__rmatmul__(d.A),
    "mm": lambda d: torch.mm(d.x, d.M),
    "mm of columns": lambda d: d.x.t().mm(d.y),
    "mv": lambda d: d.x.mv(d.w) + torch.mv(d.X, d.w),
    "mv over rows": lambda d: torch.mv(d.x.T, d.v),
    "dot": lambda d: torch.dot(d.v, d.long) + d.v.dot(d.u),
    "vdot": lambda d: torch.vdot(d.long, d.v),
    "bmm": lambda d: torch.bmm(d.b, d.B),
    "bmm over rows": lambda d: torch.bmm(d.c.transpose(1, 2), d.c),
    "batch": lambda d: d.b @ d.M,
    "batch of one": lambda d: torch.matmul(d.b, d.M[None]),
    "batch of everywhere": lambda d: d.S.mT.unsqueeze(1) @ d.c.unsqueeze(-1),
    "linalg.matmul": lambda d: torch.linalg.matmul(d.x, d.M),
    "integers": lambda d: d.i.T @ d.i,
    "linear": lambda d: F.linear(d.x, d.W, d.bias),
    "linear without bias": lambda d: F.linear(d.x, weight=d.W),
    "linear of a batch": lambda d: F.linear(d.b, d.W, d.bias),
    "linear of a vector": lambda d: F.linear(d.x, d.w),
    "linear over rows": lambda d: F.linear(d.x.T, d.A, d.bias[:1].expand(5)),
    "linear by rows": lambda d: F.linear(d.W, d.x, d.long),
    "linear twice": lambda d: F.linear(F.linear(d.x, d.W, d.bias).relu(), d.W.T, d.bias[:3]),
    "bilinear": lambda d: F.bilinear(d.x, d.X, d.T, d.bias),
    "bilinear of a batch": lambda d: F.bilinear(d.b, d.b, d.T),
    "einsum rows": lambda d: torch.einsum("nf,fg->ng", d.x, d.M),
    "einsum sum": lambda d: torch.einsum("nf, ng -> fg", d.x, d.y),
    "einsum of three": lambda d: torch.einsum("nf,n,ng->gf", d.x, d.long, d.y),
    "einsum implied": lambda d: torch.einsum("nf,ng", d.x, d.y),
    "einsum dots": lambda d: torch.einsum("...f,fg->g...", d.b, d.M),
    "einsum dots summed": lambda d: torch.einsum("n...,n->...", d.b, d.v),
    "einsum of a list": lambda d: torch.einsum("nf,nf->n", [d.x, d.X]),
    "einsum sublists": lambda d: torch.einsum(d.x, [0, 1], d.X, [0, 1], [0]),
    "einsum diagonal of others": lambda d: torch.einsum("ni,oii->no", d.x, d.T),
    "einsum one": lambda d: torch.einsum("nf->f", d.x),
    "tensordot": lambda d: torch.tensordot(d.x, d.M, 1),
    "tensordot rows": lambda d: torch.tensordot(d.x, d.y, dims=([0], [0])),  # pyright: ignore[reportArgumentType]
    "tensordot two": lambda d: torch.tensordot(d.b, d.B, dims=([0, -1], [0, 1])),  # pyright: ignore[reportArgumentType]
    "inner": lambda d: torch.inner(d.x, d.W),
    "inner of vectors": lambda d: torch.inner(d.v, d.u),
    "inner over rows": lambda d: torch.inner(d.x.T, d.A),
    "outer": lambda d: torch.outer(d.v, d.w) + torch.ger(d.v, d.w),
    "outer columns": lambda d: d.w.outer(d.v),
    "addmm": lambda d: torch.addmm(d.bias, d.x, d.M, beta=2, alpha=0.5),
    "addmm over rows": lambda d: torch.addmm(d.bias, d.x.T, d.y),
    "addmm of rows": lambda d: d.x.addmm(d.X, d.M @ d.M.T),
    "addmm beta 0": lambda d: torch.addmm(d.bias / 0, d.x, d.M, beta=0).detach(),
    "addmv": lambda d: torch.addmv(d.v, d.x, d.w),
    "addmv over rows": lambda d: torch.addmv(d.w, d.x.T, d.v),
    "addbmm": lambda d: torch.addbmm(d.w, d.b.mT @ d.b, d.b.mT @ d.b, alpha=2),
    "baddbmm": lambda d: torch.baddbmm(d.w, d.b, d.b.mT @ d.b),
    "addr": lambda d: torch.addr(d.w, d.v, d.w),
    "vecdot": lambda d: torch.linalg.vecdot(d.x, d.X) + torch.linalg.vecdot(d.x, d.w),
    "vecdot over rows": lambda d: torch.linalg.vecdot(d.x, d.X, dim=0),
    "cross": lambda d: torch.cross(d.x, d.X, dim=1) + torch.linalg.cross(d.x, d.w[None]),
    "pairs": lambda d: (d.x @ d.x.T, d.x @ torch.cat([d.X, d.x]).T),
    "pairs by einsum": lambda d: torch.einsum("nf,mf->nm", d.x, d.x).exp() @ d.y,
    "pairs summed": lambda d: torch.einsum("nf,mf->n", d.x, d.X[:, :3]).sum() + torch.outer(d.v, d.u).sum(0) @ d.x,
    "half": lambda d: torch.zeros(2, dtype=(d.x.bfloat16().T @ d.y.bfloat16()).dtype),
    "bilinear over rows": lambda d: F.bilinear(d.x.T, d.M, d.Q),
}
REFUSED: dict[str, Case] = {
    "a diagonal": lambda d: torch.einsum("nn->n", d.x @ d.X.T),
    "true and false": lambda d: (d.v > 0) @ (d.u > 0),
    "numbers between": lambda d: d.v.addr(1, d.v, d.w),
    "kron": lambda d: torch.kron(d.x, d.M),
    "cross along rows": lambda d: torch.linalg.cross(d.x.T, d.x.T),
    "sparse": lambda d: d.A.detach().to_sparse() @ d.x,
    "out": lambda d: torch.mm(d.x, d.M, out=torch.empty(N, 4)),
    "in place": lambda d: d.y.addmm_(d.x, d.M),
}
WRONG: dict[str, Case] = {
    "sizes of rows": lambda d: d.x.T @ d.A,
    "sizes of columns": lambda d: d.x @ d.W,
    "one row": lambda d: d.x.T @ d.M[:1],
    "too many dimensions": lambda d: torch.mm(d.b, d.M),
    "subscripts": lambda d: torch.einsum("nfg,fg->n", d.x, d.M),
    "larger addend": lambda d: torch.addmm(d.S, d.x, d.M),
    "linear": lambda d: F.linear(d.x, d.M),
}


def _single(world: World) -> list[str]:
    """A layer in float32, which another product computes where there are rows."""
    data = {name: (x.float() if x.is_floating_point() else x, dim) for name, (x, dim) in _data().items()}
    cases: dict[str, Case] = {
        "linear": lambda d: F.linear(F.linear(d.x, d.W, d.bias).relu(), d.M).double(),
        "linear without bias": lambda d: F.linear(d.x, d.W).double(),
    }
    return differences(world, data, N, cases, tolerance=1e-5)


def _compare(world: World) -> list[str]:
    return differences(world, _data(), N, CASES)


def _refuse(world: World) -> list[str]:
    return not_raised(world, _data(), N, REFUSED) + not_raised(world, _data(), N, WRONG, RuntimeError)


@pytest.mark.parametrize("num_ranks", [1, 3])
@pytest.mark.parametrize("check", [_compare, _single, _refuse])
def test_products_are_those_of_one_process_or_refused(check, num_ranks: int) -> None:
    assert run_ranks(num_ranks, check) == [[]] * num_ranks
