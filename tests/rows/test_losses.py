"""Losses of rows are those of one process: values, divisors, dtypes and gradients, with one sum over ranks."""

import pytest
import torch
import torch.nn.functional as F

from fullgraph.comm import World
from fullgraph.rows import distribute
from tests.ranks import run_ranks
from tests.rows.comparing import Case, Data, differences
from tests.rows.expressions import check_expressions, errors_of
from tests.rows.spaces import node_space

REDUCTIONS = ("none", "mean", "sum")
BY_REDUCTION = """
F.mse_loss(x, y{r}) | F.mse_loss(x, e{r}) | F.mse_loss(e, x{r}) | F.mse_loss(x, line{r})
F.mse_loss(x, y, weight=p{r}) | F.mse_loss(x[:, :1], y{r}) | F.mse_loss(x_t, y_t{r}) | F.mse_loss(v, w, None, None{r})
F.mse_loss(x.unsqueeze(0), e{r}) | F.l1_loss(x, y{r}) | F.l1_loss(x, y, weight=p{r}) | F.smooth_l1_loss(x, y{r})
F.smooth_l1_loss(x, y, beta=0.3{r}) | F.smooth_l1_loss(x, y, beta=0.0{r}) | F.huber_loss(x, y, delta=0.3{r})
F.huber_loss(x, y, weight=p{r}) | F.binary_cross_entropy(p, q{r})
F.binary_cross_entropy(p, q, line.sigmoid().detach(){r}) | F.binary_cross_entropy(p, bits.double(){r})
F.binary_cross_entropy_with_logits(x, q{r}) | F.binary_cross_entropy_with_logits(x, q, weight=e.sigmoid().detach(){r})
F.binary_cross_entropy_with_logits(x, q, pos_weight=line.sigmoid().detach(){r})
F.binary_cross_entropy_with_logits(v, bits[:, 0].double(){r}) | F.kl_div(x, p{r}) | F.kl_div(x, y, log_target=True{r})
F.kl_div(input=x, target=e.sigmoid(){r}) | F.poisson_nll_loss(x, p{r}) | F.poisson_nll_loss(p, 3 * q, False, True{r})
F.poisson_nll_loss(p, q, log_input=False, eps=1e-3{r}) | F.soft_margin_loss(x, signs{r})
F.soft_margin_loss(v, signs[:, 0]{r}) | F.hinge_embedding_loss(x, signs, 0.7{r})
F.margin_ranking_loss(x, y, signs, 0.3{r}) | F.margin_ranking_loss(v, w, signs[:, 0]{r})
F.hinge_embedding_loss(x, signs{r}) | F.gaussian_nll_loss(x, y, p{r}) | F.gaussian_nll_loss(x, y, p[:, 0]{r})
F.gaussian_nll_loss(x, y, p[:, :1], True{r}) | F.gaussian_nll_loss(x, y, 0.4{r})
F.gaussian_nll_loss(x, e, p, eps=0.6{r}) | F.gaussian_nll_loss(v, w, p[:, 0]{r})
F.multilabel_soft_margin_loss(x, q{r}) | F.multilabel_soft_margin_loss(x, bits.double(), line{r})
F.multilabel_soft_margin_loss(v, q[:, 0]{r}) | F.cosine_embedding_loss(x, y, signs[:, 0], 0.2{r})
F.cosine_embedding_loss(x, e, signs_e{r}) | F.cosine_embedding_loss(x, line[None], signs[:, 0]{r})
F.triplet_margin_loss(x, y, e{r}) | F.triplet_margin_loss(x, y, p, 0.4, 1, swap=True{r})
F.triplet_margin_loss(x, line[None], y{r}) | F.triplet_margin_loss(z, z.flip(1), 2 * z{r}) | F.nll_loss(x, c{r})
F.nll_loss(x, c, weights.detach(){r}) | F.nll_loss(x, c, None, None, 2{r}) | F.nll_loss(z, c2{r})
F.nll_loss(x, c_e, weight=weights.detach(), ignore_index=0{r}) | F.cross_entropy(x, c{r})
F.cross_entropy(x, c, weights.detach(){r}) | F.cross_entropy(x, c, ignore_index=2{r})
F.cross_entropy(x, c, weights.detach(), ignore_index=1, label_smoothing=0.2{r})
F.cross_entropy(x, c, label_smoothing=0.1{r}) | F.cross_entropy(x, c, ignore_index=0, label_smoothing=0.1{r})
F.cross_entropy(e, c{r}) | F.cross_entropy(x, c_e{r}) | F.cross_entropy(z, c2{r})
F.cross_entropy(z, c2, weights.detach(){r}) | F.cross_entropy(x_t.unsqueeze(0), c[None]{r}) | F.cross_entropy(x, p{r})
F.cross_entropy(x, e.softmax(1){r}) | F.cross_entropy(x, p, weights, label_smoothing=0.3{r})
F.cross_entropy(z, z.softmax(1){r}) | F.cross_entropy(x_t.unsqueeze(0), y_t.softmax(0).unsqueeze(0){r})
F.cross_entropy(x, never{r})
"""
# Torch knows no second derivative of these.
DIFFERENTIABLE_ONCE = """
F.multi_margin_loss(x, c{r}) | F.multi_margin_loss(x, c, 2, 0.5, weights.detach(){r}) | F.multi_margin_loss(x, c_e{r})
F.multilabel_margin_loss(x, labels{r})
"""
OTHERS = """
F.kl_div(x, p, reduction="batchmean") | F.kl_div(e, p, reduction="batchmean")
(F.cross_entropy(x @ m, c) * F.mse_loss(x, e)).exp() | F.cross_entropy(x[bits[:, 0]], c[bits[:, 0]])
F.mse_loss(one, one + 1) | F.binary_cross_entropy(one.sigmoid(), one_e.sigmoid())
F.cross_entropy(one, one.new_zeros(1).long()) | F.mse_loss(x[:, :0], y[:, :0]) | F.l1_loss(c, 2 * c, reduction="sum")
F.mse_loss(half, 3 * half) | F.mse_loss(half, 3 * half, reduction="sum") | F.cross_entropy(brain, c)
F.l1_loss(single, single + 1) | F.cross_entropy(half.float(), c) | F.mse_loss(x, x_t.t())
F.triplet_margin_with_distance_loss(x, y, e)
"""
REFUSED = {
    "F.mse_loss(x, x, size_average=True)": "mse_loss is deprecated with size_average",
    "F.cross_entropy(x, c, reduce=False)": "cross_entropy is deprecated with size_average or reduce",
    "F.cross_entropy(x.t(), torch.zeros(4).long())": "cross_entropy would take rows for classes",
    "F.cross_entropy(x[:, 0], c[0])": "cross_entropy would take rows for classes",
    "torch.kl_div(x, x)": "kl_div of torch itself takes other arguments",
    "torch.cosine_embedding_loss(x, x, c)": "cosine_embedding_loss of torch itself takes other arguments",
    "F.multi_margin_loss(x[:, 0], torch.tensor(0))": "multi_margin_loss takes a vector as a single example",
    "F.mse_loss(x, x.t())": "mse_loss would pair the rows",
    "F.ctc_loss(x[:, None], c[None], torch.tensor([1]), torch.tensor([1]))": "ctc_loss is not known",
}
WRONG = {
    "F.soft_margin_loss(x, torch.zeros(5, 4))": "RuntimeError",
    "F.cross_entropy(x, c[:4])": "RuntimeError",
    "F.cross_entropy(x, torch.zeros(3).long())": "ValueError",
    "F.cross_entropy(x, c, reduction='average')": "ValueError",
    "F.binary_cross_entropy(x.sigmoid(), torch.ones(1, 4).double())": "ValueError",
    "F.l1_loss(c, c)": "RuntimeError",
    "F.gaussian_nll_loss(x, x, -x.abs() - 1)": "ValueError",
    "F.margin_ranking_loss(x, x, torch.ones(4))": "RuntimeError",
    "F.mse_loss(x)": "TypeError",
}


def _split(texts: str) -> list[str]:
    return [text.strip() for text in texts.replace("\n", "|").split("|") if text.strip()]


def _by_reduction(texts: str) -> list[str]:
    return [text.format(r=f", reduction={r!r}") for text in _split(texts) for r in REDUCTIONS]


def _tensors() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    x, y, e = torch.randn(3, 11, 4, dtype=torch.float64, generator=generator)
    z = torch.randn(11, 4, 3, dtype=torch.float64, generator=generator)
    c = torch.randint(4, (11,), generator=generator)
    labels = torch.stack([c, (c + 1) % 4, torch.full_like(c, -1), c], 1)
    everywhere = {
        **{"e": e, "line": x[2] * 2, "weights": torch.tensor([0.5, 2.0, 0.1, 1.0], dtype=torch.float64)},
        **{"c_e": c.flip(0), "signs_e": 1 - 2 * (c % 2), "m": e[:4, :4].clone(), "one_e": e[:1].clone()},
    }
    spread = {
        **{"x": x, "y": y, "z": z, "x_t": x.t(), "y_t": y.t(), "v": x[:, 0], "w": y[:, 0], "p": x.sigmoid()},
        **{"q": y.softmax(1), "c": c, "c2": torch.randint(4, (11, 3), generator=generator), "bits": y > 0},
        **{"signs": 1 - 2 * (y > 0).long(), "labels": labels, "never": torch.full_like(c, -100), "one": x[:1]},
        **{"half": (x * 30).half(), "brain": x.bfloat16(), "single": x.float()},
    }
    return everywhere, spread


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_as_one_process(num_ranks: int) -> None:
    run_ranks(num_ranks, check_expressions, *_tensors(), _by_reduction(BY_REDUCTION) + _split(OTHERS))


def _once_differentiable(world: World) -> list[str]:
    everywhere, spread = _tensors()
    data: Data = {**{name: (x, None) for name, x in everywhere.items()}}
    data |= {name: (x, int(name.endswith("_t"))) for name, x in spread.items() if not name.startswith("one")}
    cases = {text: _case(text) for text in _by_reduction(DIFFERENTIABLE_ONCE)}
    return differences(world, data, 11, cases, second=False)


def _case(text: str) -> Case:
    return lambda given: eval(text, {"F": F, **vars(given)})


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_first_derivatives(num_ranks: int) -> None:
    assert run_ranks(num_ranks, _once_differentiable) == [[]] * num_ranks


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_refused_or_torchs_error(num_ranks: int) -> None:
    _, spread = _tensors()
    given = {"x": spread["x"], "c": spread["c"]}
    for errors in run_ranks(num_ranks, errors_of, given, [*REFUSED, *WRONG]):
        for (kind, text), start in zip(errors, REFUSED.values(), strict=False):
            assert kind == "UnsupportedOperation"
            assert text.startswith(start)
        assert [kind for kind, _ in errors[len(REFUSED) :]] == list(WRONG.values())


def _bytes_summed(world: World) -> list[int]:
    _, spread = _tensors()
    space = node_space(world, 11)
    x, y, c = (distribute(spread[name], space) for name in ("x", "y", "c"))
    found = []
    for loss in (lambda: F.cross_entropy(x, c), lambda: F.mse_loss(x, y), lambda: F.mse_loss(x, y, reduction="none")):
        before = world.traffic.reduced_bytes
        loss()
        found.append(world.traffic.reduced_bytes - before)
    return found


def test_one_sum_over_ranks() -> None:
    assert run_ranks(3, _bytes_summed) == [[16, 8, 0]] * 3
