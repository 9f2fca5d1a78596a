"""Reductions of rows, norms, extremes and softmax are those of one process, with their gradients."""

import pytest
import torch

from fullgraph.comm import World
from fullgraph.rows import LooksBeyondPiece, distribute
from tests.ranks import run_ranks
from tests.rows.expressions import check_expressions, errors_of, texts_in
from tests.rows.spaces import node_space

OF_REALS = """
x.sum() | x.sum(0) | x.sum(1) | x.sum((0, 1), True) | torch.sum(x, axis=-2, keepdims=True) | z.sum((0, 2))
x.sum(dim=()) | x_t.sum(1) | x_t.sum(0) | x_t.mean(-1) | x.sum(dtype=torch.float32) | x.sum(None)
torch.sum(input=x, dim=[0]) | z.sum(2) | x.mean() | x.mean(0) | torch.mean(x, 1) | x.mean((0, 1))
x.mean(0, dtype=torch.float32) | v.mean() | z.mean((0, 2), True) | gaps.nansum() | gaps.nansum(0) | gaps.nanmean()
gaps.nanmean(0, True) | gaps.nanmean(1) | torch.nansum(gaps, 1) | x.all() | x.any(0) | x.all(0, True) | x.any(1)
x.count_nonzero() | x.count_nonzero(0) | x.count_nonzero(0, 1) | torch.count_nonzero(zeros, dim=(0, 1)) | zeros.any(0)
zeros.all((0, 1)) | x.all(dim=()) | zeros.count_nonzero(1) | x.prod() | x.prod(0) | x.prod(1) | zeros.prod(0)
zeros.prod(0, keepdim=True) | one_zero.prod() | x.prod(0, dtype=torch.float32) | x.var() | x.var(0) | x.std(0)
x.std(1) | x.var(False) | x.std(0, False) | x.var(0, True, True) | torch.var(x, (0, 1)) | x.var(0, correction=0)
torch.std(x, dim=0, correction=2, keepdim=True) | torch.var_mean(x, 0) | torch.std_mean(x, (0, 1))
x.var(correction=1.5) | torch.var_mean(x) | torch.std_mean(z, [0, 2], keepdim=True) | x.var(unbiased=False)
torch.var_mean(x, 1) | x.norm() | x.norm(dim=0) | x.norm(1) | x.norm(3, 0) | torch.norm(x, p=inf, dim=0)
x.norm(-inf, 0, True) | x.norm(2, 1) | torch.linalg.norm(x) | torch.linalg.vector_norm(x, 2, 0)
torch.linalg.vector_norm(x, 1.5) | torch.linalg.norm(x, "fro") | torch.linalg.norm(v, 3) | torch.linalg.norm(x, dim=0)
torch.linalg.norm(x, 1, 0) | torch.norm(x, 1, (0, 1)) | x.norm(0.5) | torch.linalg.vector_norm(z, 3, (0, 2), True)
torch.linalg.vector_norm(x, inf) | torch.dist(x, 2 * x) | torch.dist(x, e, 1) | torch.dist(e, x, p=3)
x.renorm(2, 0, 0.5) | torch.renorm(x_t, 1, 1, 0.5) | x.amax() | x.amax(0) | x.amin((0, 1), True) | x.amax(1)
ties.amax() | ties.amin(0) | ties.amax((0, 1)) | z.amax((0, 2)) | x.aminmax() | torch.aminmax(ties, dim=0)
ties.aminmax(dim=0, keepdim=True) | ties.aminmax(dim=1) | gaps.amax(0) | x.amax(dim=()) | x.max() | ties.max()
ties.min() | ties.max(0) | torch.min(ties, 0, True) | x.max(1) | torch.max(x, dim=0).values | gaps.max(0)
ties.max(dim=-2).values | torch.max(x, e) | torch.min(e, x) | x.max(ties) | x_t.max(1) | x_t.max(0) | gaps.max()
gaps.min(0) | x.argmax() | x.argmin(0) | ties.argmax() | torch.argmin(ties, 0, True) | x.argmax(1) | gaps.argmax(0)
gaps.argmin() | x_t.argmax() | x_t.argmin() | x_t.argmax(1) | z.argmax() | ties.argmax(keepdim=True) | v.argmax()
v.max(0) | x.argmax(axis=0) | x.logsumexp(0) | torch.logsumexp(x, (0, 1)) | x.logsumexp(1)
torch.special.logsumexp(x, 0, True) | low.logsumexp(0) | x.softmax(0) | torch.log_softmax(x, 0) | F.softmin(x, 0)
F.softmax(x, dim=0) | x.softmax(1) | torch.special.softmax(x, 0) | x_t.softmax(1) | x_t.log_softmax(0)
F.log_softmax(z, 0) | F.softmax(v) | F.softmax(x) | x.softmax(0, dtype=torch.float32)
torch.special.log_softmax(x, 0, dtype=torch.float64) | F.softmax(z) | low.softmax(0)
(x.std(0) * p).sum() + (x.softmax(0) * p).pow(2).sum() | (p * x).amax(0) | ((x - x.mean(0)) / x.std(0)).pow(3).sum(1)
constant.std(0) | constant.var(0) | zeros.norm(dim=0) | zeros.norm(3, 0)
"""

OF_OTHERS = """
n.sum() | n.sum(0) | b.sum(0) | b.any() | b.all(0) | n.amax(0) | n.amin() | b.max() | b.amin(0) | b.max(0) | n.max(0)
n.argmin() | u.sum() | u.all() | u.any(0) | u.min() | u.amax(0) | s.sum(0) | s.max() | s.amin(0)
s.sum(dtype=torch.int16) | n.prod(0) | n.sum(dtype=torch.float64) | b.float().mean() | n.mean(dtype=torch.float64)
n.nansum(0) | n.logsumexp(0) | b.logsumexp(0) | h.sum(0) | h.mean() | h.var(0) | h.softmax(0) | h.amax(0) | h.norm()
h.logsumexp(0) | g.sum(0) | g.std() | g.min(0) | g.softmax(0) | h.max() | g.prod(0) | h.norm(inf)
torch.norm(h, 3, 0, dtype=torch.float32) | g.mean(0, dtype=torch.float32) | n.softmax(0, dtype=torch.float32)
h.log_softmax(0) | c.sum(0) | c.mean() | c.var(0) | c.norm() | c.prod(0) | torch.var_mean(c, 0) | c.norm(1, 0)
c.abs().amax(0) | c.std(0) | torch.linalg.vector_norm(c, 3) | none.sum(0) | none.mean(0) | none.all() | none.prod(0)
none.softmax(0) | none.norm() | none.var(0) | one.var(0) | one.std() | one.max(0) | one.softmax(0) | one.amax()
none.logsumexp(0) | b.any(0) | smallest.min() | smallest.amin(0) | smallest.min(0) | smallest.argmin()
no_columns.sum(0) | no_columns.amax(0) | no_columns.max(0) | no_columns.std(0) | no_columns.sum()
no_columns.logsumexp(0) | no_columns.argmax(0)
"""

REFUSED = {
    "torch.linalg.norm(x, 2)": "linalg_norm of this order",
    "x.norm('nuc')": "linalg_matrix_norm is not known",
    "x.norm(-1)": "linalg_vector_norm of this order",
    "x.renorm(2, 1, 1.0)": "renorm would run along the rows",
    "torch.sum(x, 0, out=torch.empty(3))": "sum does not write",
}
WRONG = {
    "x.sum(2)": "IndexError",
    "x.amax((0, 0))": "RuntimeError",
    "n.mean()": "RuntimeError",
    "n.std()": "RuntimeError",
    "n.norm()": "RuntimeError",
    "n.softmax(0)": "NotImplementedError",  # torch's own: it has no kernel for integers
    "none.amax(0)": "IndexError",
    "none.max()": "RuntimeError",
    "none.argmax()": "IndexError",
    "x.sum(0, 1)": "TypeError",
}


def _reals() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(11, 3, dtype=torch.float64, generator=generator)
    z = torch.randn(11, 2, 3, dtype=torch.float64, generator=generator)
    gaps, zeros, one_zero, low = x.clone(), x.clone(), x.clone(), x.clone()
    gaps[[2, 5, 5], [1, 0, 1]] = float("nan")
    zeros[[1, 4, 6], [0, 0, 2]] = 0
    one_zero[7, 1] = 0
    low[[0, 3]] = -float("inf")
    zeros[:, 1] = 0
    return {
        **{"x": x, "z": z, "v": x[:, 0], "x_t": x.t(), "ties": (2 * x).round(), "gaps": gaps, "zeros": zeros},
        **{"one_zero": one_zero, "low": low, "constant": torch.full((11, 2), 0.1, dtype=torch.float64)},
    }


def _others() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    n = torch.randint(-5, 6, (11, 3), generator=generator)
    c = torch.randn(11, 3, dtype=torch.complex128, generator=generator)
    smallest = n.clone()
    smallest[4, 1] = torch.iinfo(torch.int64).min
    return {
        **{"n": n, "b": n > 1, "u": n.abs().to(torch.uint8), "s": n.to(torch.int16), "h": n.half(), "c": c},
        **{"g": n.bfloat16(), "none": c.real[:0], "one": c.real[:1], "smallest": smallest, "no_columns": c.real[:, :0]},
    }


def cases() -> list[tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], list[str]]]:
    x = _reals()
    everywhere = {"p": x["x"][0].clone(), "e": x["x"].flip(0)}
    return [(everywhere, x, texts_in(OF_REALS)), ({}, _others(), texts_in(OF_OTHERS))]


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_as_one_process(num_ranks: int) -> None:
    for case in cases():
        run_ranks(num_ranks, check_expressions, *case)


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_errors_are_torchs(num_ranks: int) -> None:
    found = run_ranks(num_ranks, errors_of, {**_reals(), **_others()} | {"x_t": _reals()["x"]}, list(WRONG))
    assert [[kind for kind, _ in errors] for errors in found] == [list(WRONG.values())] * num_ranks


def test_refused() -> None:
    for errors in run_ranks(3, errors_of, {"x": _reals()["x"]}, list(REFUSED)):
        for (kind, text), start in zip(errors, REFUSED.values(), strict=True):
            assert kind == "UnsupportedOperation"
            assert text.startswith(start)


def _refused_in_piece(world: World) -> list[str]:
    space = node_space(world, 11)
    x = distribute(_reals()["x"], space)
    found = []
    for reduce in (
        torch.sum,
        torch.max,
        torch.argmin,
        torch.std,
        torch.norm,
        lambda x: x.softmax(0),
        lambda x: x.sum(1),
    ):
        with space.view.piece():
            try:
                reduce(x)
            except LooksBeyondPiece:
                found.append("refused")
            else:
                found.append("done")
    return found


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_of_a_piece_only_each_row_for_itself(num_ranks: int) -> None:
    assert run_ranks(num_ranks, _refused_in_piece) == [["refused"] * 6 + ["done"]] * num_ranks


def _counts_collectives(world: World) -> list[int]:
    x = distribute(_reals()["x"].requires_grad_(), node_space(world, 11))
    before = world.traffic.reduced_bytes
    loss = x.std(0).sum() + x.amax(0).sum() + x.mean()
    forward = world.traffic.reduced_bytes
    loss.backward()
    return [forward - before, world.traffic.reduced_bytes - forward]


def test_gradients_of_reductions_need_no_sum() -> None:
    for forward, backward in run_ranks(3, _counts_collectives):
        assert forward > 0
        assert backward == 0
