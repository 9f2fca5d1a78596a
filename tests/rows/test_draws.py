"""Draws for rows are the same on any number of ranks, and are distributed as torch's."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.comm import World
from fullgraph.rows import distribute, gather
from fullgraph.rows.tensor import is_rows
from tests.ranks import run_ranks
from tests.rows.expressions import TORCH, errors_of
from tests.rows.spaces import node_space

NUM_ROWS = 3000
DRAWS = """
F.dropout(x, 0.3) | F.dropout(x_t, 0.3) | torch.dropout(x, 0.5, True) | F.dropout(x, p=1.0)
F.dropout(input=x, training=True) | F.dropout(x * 1, 0.3, inplace=True) | F.dropout(x_t * 1, 0.3, True, True)
F.dropout(half, 0.2) | F.dropout(x[x[:, 0] > 0], 0.3) | F.alpha_dropout(x, 0.3, True)
torch.alpha_dropout(x, 0.3, True) | F.alpha_dropout(x * 1, 0.3, True, True) | F.alpha_dropout(x, 1.0, True)
F.dropout1d(z, 0.4) | F.dropout1d(x, 0.4) | F.dropout2d(z.unsqueeze(3), 0.4) | F.dropout3d(z.unsqueeze(3), 0.4)
F.dropout1d(z, 1.0) | torch.feature_dropout(z, 0.4, True) | F.feature_alpha_dropout(z, 0.4, True)
F.dropout1d(z * 1, 0.4, inplace=True) | torch.rand_like(x) | torch.randn_like(x) | torch.rand_like(x_t)
torch.randn_like(c, dtype=torch.float32) | torch.rand_like(half) | torch.randn_like(x, requires_grad=True).detach()
torch.bernoulli(x.sigmoid()) | x.bernoulli(0.3) | torch.bernoulli(c, 0.7) | x_t.sigmoid().bernoulli()
x.clone().bernoulli_(0.2) | x.clone().bernoulli_(x.sigmoid()) | c.clone().bernoulli_() | x.clone().uniform_()
x.clone().uniform_(-2, 3) | x_t.clone().uniform_(to=2) | x.clone().normal_() | x.clone().normal_(2, std=0.1)
x.clone().exponential_() | x.clone().exponential_(lambd=3.0) | x.clone().log_normal_(0, 0.3) | c.clone().random_(5)
x.clone().random_(2, 9) | torch.normal(x, 1.0) | torch.normal(x, x.exp()) | torch.normal(2.0, x.exp())
torch.nn.init.uniform_(x.clone(), -1, 2) | torch.nn.init.normal_(x.clone(), 1, 2)
torch.nn.init.constant_(x.clone(), 3) | torch.nn.init.kaiming_uniform_(x.clone())
torch.nn.init.xavier_normal_(x.clone())
"""
UNCHANGED = "F.dropout(x, training=False) | F.dropout(x, 0.0) | F.alpha_dropout(x, 0.5)"
REFUSED = {
    "torch.rand_like(x, generator=torch.Generator())": "rand_like draws by the rows' ids",
    "x.uniform_(generator=torch.Generator())": "uniform_ draws by the rows' ids",
    "torch.bernoulli(x.sigmoid(), out=torch.empty(3000, 4))": "bernoulli does not write",
    "F.dropout(c, 0.5)": "dropout drops only from floating-point rows",
    "torch.feature_dropout(x.t()[None], 0.4, True)": "feature_dropout would drop from all rows together",
    "c.clone().random_()": "random_ needs a largest number",
    "c.clone().normal_()": "normal_ draws only floating-point numbers",
    "torch.multinomial(x.exp(), 2)": "multinomial is not known",
    "torch.poisson(x.exp())": "poisson is not known",
    "torch.zeros(3000, 4).bernoulli_(x.sigmoid())": "bernoulli_ would write rows into",
}
WRONG = {
    "F.dropout(x, 1.5)": "ValueError",
    "c.clone().random_(5, 5)": "RuntimeError",
    "F.dropout1d(x[:, 0])": "RuntimeError",
}


def _split(texts: str) -> list[str]:
    return [text.strip() for text in texts.replace("\n", "|").split("|") if text.strip()]


def _tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(NUM_ROWS, 4, dtype=torch.float64, generator=generator)
    z = torch.randn(NUM_ROWS, 3, 2, dtype=torch.float64, generator=generator)
    return {"x": x, "x_t": x.t(), "z": z, "c": torch.randint(9, (NUM_ROWS, 2), generator=generator), "half": x.half()}


def _rows(world: World) -> dict[str, Tensor]:
    space = node_space(world, NUM_ROWS)
    return {name: distribute(x, space, int(name.endswith("_t"))) for name, x in _tensors().items()}


def _drawn(world: World, texts: list[str]) -> list[Tensor]:
    torch.manual_seed(7)
    given = _rows(world)
    out = [eval(text, {**TORCH, **given}) for text in texts]
    assert all(map(is_rows, out))
    return [*map(gather, out), torch.rand(1)]


def test_same_on_any_number_of_ranks() -> None:
    texts = _split(DRAWS)
    alone, *others = run_ranks(1, _drawn, texts) + run_ranks(3, _drawn, texts)
    for place, text in enumerate([*texts, "the generator afterwards"]):
        for other in others:
            assert torch.equal(other[place], alone[place]), text


def test_shapes_and_dtypes_are_torchs() -> None:
    texts = _split(DRAWS)
    (drawn,) = run_ranks(1, _drawn, texts)
    torch.manual_seed(1)
    for text, mine in zip(texts, drawn, strict=False):
        right = eval(text, {**TORCH, **_tensors()})
        assert (tuple(mine.shape), mine.dtype) == (tuple(right.shape), right.dtype), text
        bound = 5 * float(right.double().std()) / math.sqrt(NUM_ROWS) + 1e-9
        assert abs(float(mine.double().mean() - right.double().mean())) < 2 * bound, text
        assert float(mine.double().std()) == pytest.approx(float(right.double().std()), rel=0.15), text


def _of_dropout(world: World) -> dict[str, Tensor]:
    space = node_space(world, NUM_ROWS)
    x = distribute(_tensors()["x"], space).requires_grad_()
    found = {}
    for name, dropped in {
        "dropout": F.dropout(x, 0.3),
        "in place": F.dropout(x * 1, 0.3, inplace=True),
        "in place, of a part": F.dropout((x * 1)[:, 1:], 0.3, inplace=True),
        "alpha": F.alpha_dropout(x, 0.3, True),
        "in place of the transpose": F.dropout((x * 1).t(), 0.3, inplace=True).t(),
    }.items():
        found[name] = gather(torch.autograd.grad((dropped * dropped).sum(), [x])[0])
        found[name + " itself"] = gather(dropped)
    kept = F.dropout(x, 0.0)
    assert kept is x
    rows_differ = F.dropout1d(distribute(_tensors()["x"], space), 0.5)
    found["whole rows"] = gather((rows_differ == 0).sum(1))
    return found


def test_gradients() -> None:
    (alone,), others = run_ranks(1, _of_dropout), run_ranks(3, _of_dropout)
    for name, mine in alone.items():
        for other in others:
            assert torch.equal(other[name], mine), name
    x = _tensors()["x"]
    for name in ("dropout", "in place"):
        is_kept = alone[name + " itself"] != 0
        assert float(is_kept.double().mean()) == pytest.approx(0.7, abs=0.02)
        torch.testing.assert_close(alone[name + " itself"], x * is_kept / 0.7)
        torch.testing.assert_close(alone[name], 2 * x * is_kept / 0.49)
    assert set(alone["whole rows"].tolist()) == {0, 4}


def _unlike(world: World) -> list[bool]:
    x = _rows(world)["x"]
    first, second = torch.rand_like(x), torch.rand_like(x)
    torch.manual_seed(3)
    again = torch.rand_like(x)
    torch.manual_seed(3)
    return [bool((first == second).any()), bool((again == torch.rand_like(x)).all())]


def test_each_draw_is_another_and_follows_the_seed() -> None:
    assert run_ranks(3, _unlike) == [[False, True]] * 3


def _same_objects(world: World) -> bool:
    given = _rows(world)
    return all(eval(text, {**TORCH, **given}) is given["x"] for text in _split(UNCHANGED))


def test_nothing_to_drop() -> None:
    assert run_ranks(3, _same_objects) == [True] * 3


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_refused_or_torchs_error(num_ranks: int) -> None:
    given = {name: _tensors()[name] for name in ("x", "c")}
    for errors in run_ranks(num_ranks, errors_of, given, [*REFUSED, *WRONG]):
        for (kind, text), start in zip(errors, REFUSED.values(), strict=False):
            assert kind == "UnsupportedOperation"
            assert text.startswith(start)
        assert [kind for kind, _ in errors[len(REFUSED) :]] == list(WRONG.values())
