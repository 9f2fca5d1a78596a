"""Functions of one dimension are those of one process, along columns and along rows."""

import pytest
import torch
from torch import Tensor

from tests.ranks import run_ranks
from tests.rows.expressions import check_expressions, errors_of, texts_in

TEXTS = """
x.flip(0) | x.flip(0, 1) | torch.flip(x, (1,)) | x.flip(1) | x.fliplr() | torch.flipud(x) | x_t.fliplr() | v.flip(0)
x.flip(-1, 0) | x.flip(dims=(0,)) | x.flip(()) | x.roll(2) | x.roll(1, 0) | torch.roll(x, 1, 1)
x.roll((1, -2), (0, 1)) | x.roll(shifts=1, dims=-1) | x_t.roll(1, 1) | v.roll(-3) | x.cumsum(0) | x.cumsum(1)
torch.cumsum(x, dim=-2) | x.cumsum(axis=0) | x.cumprod(0) | x.cumprod(1) | x.logcumsumexp(0) | x_t.cumsum(1)
v.cumsum(0) | n.cumsum(0) | b.cumsum(0) | x.cumsum(0, dtype=torch.float32) | x.cummax(0) | torch.cummin(x, 1)
ties.cummax(0) | z.cummin(2) | z.cumsum(1) | x.sort(0) | x.sort(1) | x.sort() | torch.sort(x, 0, True)
torch.sort(x, stable=True, dim=0) | v.sort() | v.sort(descending=True) | ties.argsort(dim=0, stable=True)
x.argsort(1) | v.argsort() | x_t.argsort(1) | torch.argsort(x, dim=0, descending=True) | x.msort() | torch.msort(v)
x_t.msort() | n.sort(dim=0, stable=True) | x.topk(2, 0) | x.topk(2) | torch.topk(x, 1, dim=1)
v.topk(4, largest=False) | z.topk(1, 1) | x_t.topk(3, 1) | x.kthvalue(3, 0) | x.kthvalue(2) | z.kthvalue(1, 1, True)
x.kthvalue(2, dim=1, keepdim=True) | x_t.kthvalue(2, 0) | z.kthvalue(2) | x.median() | x.median(0) | x.median(1)
x.nanmedian() | gaps.nanmedian(0) | gaps.median(0) | x.median(0, True) | x_t.median(0) | n.median() | n.mode(0)
n.mode() | n.mode(1, True) | x.quantile(0.3) | x.quantile(0.5, 0) | x.quantile(0.5, 1) | x.quantile(q, 1)
x.quantile(q, 0, True) | torch.quantile(x, q, dim=1, keepdim=True) | x_t.quantile(q, 0) | x_t.quantile(0.2, 0)
z.quantile(q, 1) | x.quantile(q) | gaps.nanquantile(0.5, 0) | x.quantile(0.4, 0, interpolation="nearest")
torch.nanquantile(gaps, q, 1) | x_t.quantile(q, 1) | x.diff() | x.diff(dim=0) | torch.diff(x, 2, 0)
x.diff(dim=0, append=e) | z.diff(dim=1) | b.diff() | (x.cumsum(0) * p).sort(0).values.pow(3)
(x - x.median(0).values).pow(3) | (x.flip(0) * x).sum(1) | x.sort(0).values * x | none.cumsum(0) | none.sort(0)
none.flip(0) | none.argsort(1) | none.median() | F.pad(x, (0, 0, 1, 0)) | F.pad(x, (1, 0)) | F.pad(z, (0, 0, 0, 1))
torch.quantile(x.detach(), q=0.3, dim=1, out=torch.empty(11, dtype=torch.float64))
torch.cumsum(x.detach(), 0, out=torch.empty(11, 3, dtype=torch.float64))
torch.topk(v.detach(), 2, out=(torch.empty(2, dtype=torch.float64), torch.empty(2, dtype=torch.int64)))
"""
REFUSED = {
    "x.tril()": "tril",
    "torch.triu(x)": "triu",
    "x.diag()": "diag",
    "x.trace()": "trace",
    "torch.quantile(x, v, 1)": "quantile takes rows only",
    "x.diff(prepend=x)": "diff takes rows only as its input",
    "torch.trapezoid(x)": "trapezoid is not known",
    "torch.cumsum(x, 0, out=torch.empty_like(x))": "cumsum does not write results of rows into rows",
}
WRONG = {
    "x.cumsum(2)": "IndexError",
    "x.cumsum()": "TypeError",
    "v.fliplr()": "RuntimeError",
    "x.topk(12, 0)": "RuntimeError",
    "n.quantile(0.5)": "RuntimeError",
    "x.flip(0, 0)": "RuntimeError",
    "none.median(0)": "IndexError",
}


def cases() -> list[tuple[dict[str, Tensor], dict[str, Tensor], list[str]]]:
    x, spread = torch.randn(11, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), {}
    gaps = x.clone()
    gaps[[2, 5, 5], [1, 0, 1]] = float("nan")
    spread = {"x": x, "x_t": x.t(), "v": x[:, 0], "z": torch.stack([x, x.sin()], 1), "gaps": gaps, "none": x[:0]}
    spread |= {"ties": (2 * x).round(), "n": (3 * x).long(), "b": x > 0}
    everywhere = {"p": x[0].clone(), "e": x.cos(), "q": torch.tensor([0.2, 0.7], dtype=torch.float64)}
    return [(everywhere, spread, texts_in(TEXTS))]


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_as_one_process(num_ranks: int) -> None:
    for case in cases():
        run_ranks(num_ranks, check_expressions, *case)


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_errors_are_torchs(num_ranks: int) -> None:
    spread = {name: x for name, x in cases()[0][1].items() if name != "x_t"}
    found = run_ranks(num_ranks, errors_of, spread, list(WRONG))
    assert [[kind for kind, _ in errors] for errors in found] == [list(WRONG.values())] * num_ranks


def test_refused() -> None:
    spread = {name: cases()[0][1][name] for name in ("x", "v")}
    for errors in run_ranks(3, errors_of, spread, list(REFUSED)):
        for (kind, text), start in zip(errors, REFUSED.values(), strict=True):
            assert kind == "UnsupportedOperation"
            assert text.startswith(start)
