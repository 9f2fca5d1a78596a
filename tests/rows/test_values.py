"""What values rows hold, and how many of each, is what one process finds."""

import pytest
import torch
from torch import Tensor

from tests.ranks import run_ranks
from tests.rows.expressions import check_expressions, errors_of, texts_in

TEXTS = """
n.unique() | torch.unique(n, return_inverse=True, return_counts=True) | m.unique(return_counts=True) | b.unique()
x.unique() | m.unique(return_inverse=True, dim=0) | m.unique(dim=0, return_counts=True, return_inverse=True)
m.unique(return_inverse=True) | m_t.unique(dim=1, return_inverse=True)
m_t.unique(return_inverse=True, return_counts=True) | b.unique(return_inverse=True)
gaps.unique(return_inverse=True, return_counts=True) | ties.unique(dim=0, return_inverse=True)
x.unique(return_counts=True) | n.unique_consecutive()
torch.unique_consecutive(n, return_inverse=True, return_counts=True) | m.unique_consecutive(dim=0) | none.unique()
none_m.unique(dim=0) | none.unique(return_inverse=True) | u.unique(return_counts=True) | torch.unique(n, False)
n.bincount() | torch.bincount(n, minlength=20) | n.bincount(w) | n.bincount(weights=w.float()) | torch.bincount(k, w)
none.bincount() | n.bincount(k) | none.bincount(minlength=3) | none.bincount(none) | u.bincount() | n.bincount(n)
torch.bincount(n, weights=w.half()) | x.histc() | x.histc(5) | torch.histc(x, 4, -1, 1)
x.histc(bins=3, min=2, max=2) | x.float().histc(7) | none_x.histc(3) | torch.full_like(x, 5.0).histc(4) | F.one_hot(n)
F.one_hot(n, 12) | F.one_hot(m) | F.one_hot(none, 4) | F.one_hot(n, num_classes=-1) | torch.bucketize(x, s)
torch.bucketize(x, s, right=True, out_int32=True) | torch.searchsorted(s, x) | torch.searchsorted(s, x_t)
torch.searchsorted(s, x, side="right") | torch.searchsorted(s, v, right=True) | torch.isin(m, torch.tensor([1, 2]))
torch.isin(m, n) | torch.isin(k, n) | torch.isin(m, n, invert=True) | torch.isin(m, m) | torch.isin(3, n)
torch.isin(n, 3) | torch.isin(x, gaps) | torch.isin(elements=k, test_elements=m) | torch.allclose(x, x)
x.allclose(x + 1e-9) | torch.allclose(x, e) | torch.allclose(gaps, gaps) | gaps.allclose(gaps, equal_nan=True)
torch.segment_reduce(x, "sum", lengths=runs) | torch.segment_reduce(x, "mean", lengths=runs)
torch.segment_reduce(x, "prod", offsets=torch.tensor([0, 4, 11]))
torch.segment_reduce(x, "mean", lengths=runs, initial=0) | torch.segment_reduce(x.detach(), "max", lengths=runs)
torch.segment_reduce(x.detach(), "min", lengths=runs) | torch._convert_indices_from_coo_to_csr(n.sort().values, 12)
torch.allclose(e, x, atol=100.0) | torch.allclose(none_x, none_x) | x.allclose(p, 10.0)
"""
REFUSED = {
    "m.unique(dim=1)": "unique of columns",
    "torch.bucketize(x, v)": "bucketize takes rows only",
    "torch.searchsorted(v, x)": "searchsorted takes rows only",
    "torch.searchsorted(x.sort(1).values, x)": "searchsorted would run along",
    "F.one_hot(m).tril()": "tril",
    "torch.segment_reduce(x.requires_grad_(), 'max', lengths=torch.tensor([3, 8]))": "segment_reduce of extremes",
    "torch.segment_reduce(x, 'sum', lengths=m[:, 0])": "segment_reduce takes rows",
}
WRONG = {
    "(-n).bincount()": "RuntimeError",
    "m.bincount()": "RuntimeError",
    "x.bincount()": "NotImplementedError",  # torch's own, here and below: it has no kernel for the dtype
    "n.histc()": "NotImplementedError",
    "F.one_hot(none)": "RuntimeError",
    "n.bincount(none)": "RuntimeError",
    "torch.allclose(x, x.long())": "RuntimeError",
    "torch.full_like(x, inf).histc()": "RuntimeError",
}


def cases() -> list[tuple[dict[str, Tensor], dict[str, Tensor], list[str], bool]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(11, 2, dtype=torch.float64, generator=generator)
    m = torch.randint(0, 3, (11, 2), generator=generator)
    n = torch.tensor([3, 3, 0, 7, 7, 7, 1, 0, 9, 9, 3])
    gaps = x.round().clone()
    gaps[[2, 5], [1, 0]] = float("nan")
    spread = {"x": x, "x_t": x.t(), "v": x[:, 0].sort().values, "n": n, "m": m, "m_t": m.t(), "b": m > 0, "gaps": gaps}
    spread |= {"ties": x.round(), "none": n[:0], "none_m": m[:0], "none_x": x[:0], "u": n.to(torch.uint8)}
    s = torch.tensor([-1.0, 0.0, 0.5], dtype=torch.float64)
    everywhere = {
        "w": x[:, 1].clone(),
        "k": n.flip(0),
        "e": x.cos(),
        "s": s,
        "p": x[0],
        "runs": torch.tensor([0, 3, 0, 6, 2]),
    }
    return [(everywhere, spread, texts_in(TEXTS), False)]


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_as_one_process(num_ranks: int) -> None:
    for case in cases():
        run_ranks(num_ranks, check_expressions, *case)


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_errors_are_torchs(num_ranks: int) -> None:
    spread = {name: x for name, x in cases()[0][1].items() if not name.endswith("_t")}
    found = run_ranks(num_ranks, errors_of, spread, list(WRONG))
    assert [[kind for kind, _ in errors] for errors in found] == [list(WRONG.values())] * num_ranks


def test_refused() -> None:
    spread = {name: cases()[0][1][name] for name in ("x", "v", "m")}
    for errors in run_ranks(3, errors_of, spread, list(REFUSED)):
        for (kind, text), start in zip(errors, REFUSED.values(), strict=True):
            assert kind == "UnsupportedOperation"
            assert text.startswith(start)
