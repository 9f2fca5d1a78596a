"""A sum, its matrix, the row's own matrix and a bias as one operation: some rows at a time, every gradient."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data

import fullgraph as fg
from fullgraph.engine import Recipes, linear_sum

NUM_NODES, WIDTH = 3000, 64  # in float64 more rows than are worked on at a time
NAMES = ("x", "matrix", "root", "bias")


@pytest.fixture(scope="module")
def walked():
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(NUM_NODES, (2, 9000), generator=generator)
    edges[1, edges[1] == 7] = 8  # a row without in-edges
    return fg.open(Data(x=torch.zeros(NUM_NODES, 1), edge_index=edges)).edge_index.walked


def arguments(width_out: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = [(NUM_NODES, WIDTH), (width_out, WIDTH), (width_out, WIDTH), (width_out,)]
    return {n: torch.randn(s, generator=generator, dtype=torch.float64) for n, s in zip(NAMES, shapes, strict=True)}


def wanted(walked, x, matrix, root, bias, weight, reduction: str) -> Tensor:
    src, dst = walked.src, walked.dst
    rows = x[src] if weight is None else x[src] * weight.view(-1, 1)
    total = torch.zeros_like(x).index_add(0, dst, rows)
    if reduction == "mean":
        total = total / torch.bincount(dst, minlength=NUM_NODES).clamp(min=1).view(-1, 1)
    out = F.linear(total, matrix, bias)
    return out if root is None else out + F.linear(x, root)


def gradients(out: Tensor, given: dict[str, Tensor], *, is_seen: bool) -> dict[str, Tensor]:
    turned = out.sin() if is_seen else out.sin() * 1.0
    if is_seen:  # whoever looks at the gradient finds it unchanged, and it may not be written
        seen = []
        out.register_hook(lambda grad: seen.append((grad, grad.clone())))
    turned.sum().backward()
    if is_seen:
        assert torch.equal(*seen[0])
    return {name: tensor.grad for name, tensor in given.items() if tensor.grad is not None}


@pytest.mark.parametrize("is_seen", [False, True])
@pytest.mark.parametrize("width_out", [WIDTH, 20])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize(
    ("absent", "frozen"),
    [((), ()), (("root",), ()), (("bias",), ("matrix",)), ((), ("root", "bias")), ((), ("matrix", "root"))],
)
@pytest.mark.parametrize("is_weighted", [False, True])
def test_results_and_gradients(walked, width_out, reduction, absent, frozen, is_weighted, is_seen):
    weight = torch.linspace(-1, 1, 9000, dtype=torch.float64) if is_weighted else None
    results = []
    for function in ("engine", "torch"):
        given = arguments(width_out)
        for name, tensor in given.items():
            tensor.requires_grad_(name not in frozen)
        rest: dict[str, Tensor | None] = given | dict.fromkeys(absent)
        if function == "engine":
            x, matrix, plan = rest.pop("x"), rest.pop("matrix"), walked.plan
            out = linear_sum(x, matrix, plan, weight, reduction=reduction, **rest)
        else:
            out = wanted(walked, **rest, weight=weight, reduction=reduction)
        results.append((out.detach(), gradients(out, given, is_seen=is_seen and function == "engine")))
    (out, got), (expected, want) = results
    torch.testing.assert_close(out, expected, rtol=1e-11, atol=1e-11)
    assert got.keys() == want.keys() == set(NAMES) - {*absent, *frozen}
    for name in got:
        torch.testing.assert_close(got[name], want[name], rtol=1e-10, atol=1e-9, msg=name)


@pytest.mark.parametrize("width_out", [WIDTH, 20])
def test_rows_made_again_some_at_a_time_give_the_same_bits(walked, width_out):
    def run(recipes: Recipes | None) -> tuple[Tensor, ...]:
        given = {name: tensor.requires_grad_() for name, tensor in arguments(width_out).items()}
        start, factors = given["x"], torch.arange(1.0, NUM_NODES + 1, dtype=torch.float64).view(-1, 1)
        x = start * factors
        if recipes is not None:  # a step that depends on where a row is
            recipes.note(x, start, lambda rows, places: rows * factors[places])
        out = linear_sum(x, given["matrix"], walked.plan, root=given["root"], recipes=recipes)
        held = out.grad_fn.saved_tensors[0]
        assert (held.data_ptr() == start.data_ptr()) == (recipes is not None), "what stays is what rows are made of"
        out.sin().sum().backward()
        return out, *(given[name].grad for name in NAMES[:3])

    for got, want in zip(run(Recipes()), run(None), strict=True):
        assert torch.equal(got, want)


def test_what_rows_are_made_of_may_not_change_before_backward(walked):
    given, recipes = {name: t.requires_grad_() for name, t in arguments(WIDTH).items()}, Recipes()
    start = given["x"] * 1
    x = start.exp()
    recipes.note(x, start, lambda rows, _: rows.exp())
    out = linear_sum(x, given["matrix"], walked.plan, recipes=recipes)
    with torch.no_grad():
        start += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_what_is_remembered_of_rows_that_never_change_is_not_mixed_up_by_autocast(walked):
    given = {name: tensor.float() for name, tensor in arguments(20).items()}
    x, parameters = given.pop("x"), {name: given[name].requires_grad_() for name in ("root", "bias")}
    matrix, whole = given["matrix"].requires_grad_(), wanted(walked, x, **given, weight=None, reduction="sum")
    for dtype in (torch.float32, torch.bfloat16) * 3:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            out = linear_sum(x, matrix, walked.plan, **parameters)
        assert out.dtype == dtype
        error = float((out.float() - whole).detach().abs().max() / whole.detach().abs().max())
        assert (1e-4 if dtype == torch.bfloat16 else 0) <= error < (2e-2 if dtype == torch.bfloat16 else 1e-5)
