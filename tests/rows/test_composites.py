"""Norms, similarities, convolutions and pools of rows are those of one process, running statistics included."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.comm import World
from fullgraph.config import EngineConfig
from fullgraph.errors import UnsupportedOperation
from fullgraph.rows import View, distribute, gather
from tests.ranks import run_ranks
from tests.rows.comparing import Case, Data, differences
from tests.rows.expressions import check_expressions, errors_of
from tests.rows.spaces import node_space

AS_ONE_PROCESS = """
F.batch_norm(x, *stats) | F.batch_norm(none, *stats) | F.batch_norm(none, None, None, training=True)
F.instance_norm(h_z) | F.batch_norm(h, None, None, None, None, True)
F.batch_norm(h, mean.float().detach(), var.float().detach(), w.float(), b.float()) | F.batch_norm(x, *stats, eps=0.1)
F.instance_norm(x_t.unsqueeze(0), *stats, use_input_stats=False) | F.layer_norm(x, (4,))
F.layer_norm(x, [4], w, b, 1e-3) | F.layer_norm(z, (4, 3)) | F.layer_norm(z, (3,), eps=0.1)
torch.layer_norm(x, (4,), w) | F.layer_norm(x_t.t(), (4,), w) | F.rms_norm(x, (4,)) | F.rms_norm(x, [4], w, 1e-3)
F.layer_norm(none, (4,), w, b) | F.group_norm(x, 2) | F.group_norm(z, num_groups=4, weight=w, eps=0.1)
torch.group_norm(x, 1, w) | F.group_norm(x[:, :1], 1) | F.local_response_norm(z, 2)
F.local_response_norm(z, 3, alpha=0.1, beta=0.5, k=2.0) | F.normalize(x) | F.normalize(x, dim=0)
F.normalize(x, 1.0, 0) | F.normalize(x, p=3, dim=1) | F.normalize(z, dim=-1) | F.normalize(z, dim=(0, 1))
F.normalize(zero, dim=0) | F.normalize(zero, dim=1) | F.normalize(x, dim=0, eps=10.0) | F.cosine_similarity(x, y)
F.cosine_similarity(x, y, 0) | F.cosine_similarity(x, w[None]) | F.cosine_similarity(x, b[None], dim=0)
torch.cosine_similarity(x, e, 1, 1e-3) | F.cosine_similarity(e, x, dim=-1) | F.cosine_similarity(zero, x)
F.cosine_similarity(zero, x, 0) | F.cosine_similarity(z, z.flip(1), 1) | F.cosine_similarity(x[:, 0], y[:, 0], 0)
F.cosine_similarity(single, x) | F.cosine_similarity(x, y, eps=9.0) | F.pairwise_distance(x, y)
F.pairwise_distance(x, w) | F.pairwise_distance(x, y, 1.0, 1e-3, True) | F.pairwise_distance(x_t, y_t)
F.pairwise_distance(x[:, 0], y[:, 0]) | F.pairwise_distance(e, x, p=3.0) | F.glu(x) | F.glu(x, 1) | F.glu(x_t, dim=0)
F.glu(z, -2) | F.conv1d(z, k1) | F.conv1d(z, k1, b[:2], padding=1) | F.conv2d(z.unsqueeze(1), k2, stride=2)
F.conv_transpose1d(z, k1.transpose(0, 1)[:, :2]) | F.max_pool1d(z, 2) | F.avg_pool1d(z, 2, 1)
F.max_pool2d(z.unsqueeze(1), 2) | F.avg_pool2d(z.unsqueeze(1), (2, 3)) | F.lp_pool1d(z.abs(), 2, 2)
F.max_pool1d(z, 2, return_indices=True) | F.adaptive_avg_pool1d(z, 2) | F.adaptive_max_pool1d(z, 2)
F.adaptive_avg_pool2d(z.unsqueeze(1), 1) | F.adaptive_max_pool1d(z, 2, return_indices=True)
"""
REFUSED = {
    "F.batch_norm(x.t(), None, None, training=True)": "batch_norm takes rows only as its input",
    "F.batch_norm(torch.zeros(3, 11).double(), None, None, x[:, 0], training=True)": "batch_norm takes rows only",
    "F.layer_norm(x, (11, 4))": "layer_norm would run along the rows",
    "F.layer_norm(x.t(), (11,))": "layer_norm would run along the rows",
    "F.layer_norm(torch.zeros(11).double(), (11,), x[:, 0])": "layer_norm has a meaning only",
    "F.group_norm(x.t(), 1)": "group_norm would run along the rows",
    "F.glu(x.t())": "glu would run along the rows",
    "F.conv1d(x, torch.zeros(2, 11, 1).double())": "conv1d would run along the rows",
    "F.max_pool1d(x, 2)": "max_pool1d would run along the rows",
    "F.interpolate(x[:, None], size=3)": "interpolate is not known",
    "F.gumbel_softmax(x, hard=True, dim=0)": "scatter_ along rows",
    "F.normalize(x, out=torch.empty(11, 4))": "div would write rows",
}
WRONG = {
    "F.batch_norm(x, torch.zeros(3).double(), torch.ones(3).double())": "RuntimeError",
    "F.batch_norm(x[:1], None, None, training=True)": "ValueError",
    "F.batch_norm(x, None, None, training=True, eps=0.0)": "ValueError",
    "F.batch_norm(x, None, None)": "RuntimeError",
    "F.instance_norm(x[:, :, None])": "ValueError",
    "F.layer_norm(x, (3,))": "RuntimeError",
    "F.group_norm(x, 3)": "RuntimeError",
    "F.group_norm(x[:1, :1], 1)": "ValueError",
    "F.glu(x, 2)": "IndexError",
    "F.cosine_similarity(x, x[:3])": "RuntimeError",
    "F.cosine_similarity(x, x, 2)": "IndexError",
    "F.local_response_norm(x, 2)": "ValueError",
}


def _texts() -> list[str]:
    texts = AS_ONE_PROCESS.replace("\n", "|").replace("*stats", "mean.detach(), var.detach()").split("|")
    return [text.strip() for text in texts if text.strip()]


def _tensors() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    x, y, e = torch.randn(3, 11, 4, dtype=torch.float64, generator=generator)
    z = torch.randn(11, 4, 3, dtype=torch.float64, generator=generator)
    zero = x.clone()
    zero[2], zero[:, 1] = 0, 0
    kernels = torch.randn(2, 4, 2, dtype=torch.float64, generator=generator)
    everywhere = {
        **{"e": e, "w": x[3] * 2, "b": y[4] + 1, "mean": y[1].clone(), "var": y[2].exp()},
        **{"k1": kernels, "k2": kernels[:, :1, None] + torch.zeros(2, 1, 2, 2)},
    }
    spread = {"x": x, "y": y, "z": z, "x_t": x.t(), "y_t": y.t(), "zero": zero, "none": x[:0], "h": x.half()}
    return everywhere, {**spread, "h_z": z.bfloat16(), "single": y.float()}


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_as_one_process(num_ranks: int) -> None:
    run_ranks(num_ranks, check_expressions, *_tensors(), _texts())


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_refused_or_torchs_error(num_ranks: int) -> None:
    given = {"x": _tensors()[1]["x"]}
    for errors in run_ranks(num_ranks, errors_of, given, [*REFUSED, *WRONG]):
        for (kind, text), start in zip(errors, REFUSED.values(), strict=False):
            assert kind == "UnsupportedOperation"
            assert text.startswith(start)
        assert [kind for kind, _ in errors[len(REFUSED) :]] == list(WRONG.values())


# -- batch norm in training: its kernel knows no second derivative, and running statistics change


def _trained(norm: Callable[..., Tensor], inputs: Callable[[SimpleNamespace], list[Tensor]], **settings: Any) -> Case:
    """The output and the running statistics after two steps."""

    def case(given: SimpleNamespace) -> tuple[Tensor, ...]:
        x, *affine = inputs(given)
        running = [torch.zeros(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64)]
        out = norm(x, *running, *affine, **settings)
        return norm(out * x, *running, *affine, **settings), *running

    return case


def _training(world: World) -> list[str]:
    everywhere, spread = _tensors()
    data: Data = {name: (x, None) for name, x in everywhere.items() if name in ("w", "b")}
    data |= {name: (spread[name], int(name.endswith("_t"))) for name in ("x", "z", "x_t")}
    by_kernel = {
        "with all": _trained(F.batch_norm, lambda of: [of.x, of.w, of.b], training=True, momentum=0.3),
        "without bias": _trained(F.batch_norm, lambda of: [of.x, of.w], training=True, eps=0.1),
        "without weight": _trained(F.batch_norm, lambda of: [of.x], training=True),
    }
    to_any_order: dict[str, Case] = {
        "of images": _trained(F.batch_norm, lambda of: [of.z, of.w, of.b], training=True),
        "of a batch of one": _trained(F.batch_norm, lambda of: [of.x_t.unsqueeze(0), of.w], training=True),
        "instance norm of images": _trained(F.instance_norm, lambda of: [of.z, of.w, of.b], momentum=0.3),
        "instance norm of rows": _trained(F.instance_norm, lambda of: [of.x_t.unsqueeze(0), of.w, of.b], eps=0.1),
    }
    stats = torch.arange(1.0, 5).double(), torch.arange(0.5, 4).double()
    to_any_order |= {
        "group norm": lambda of: F.group_norm(of.z, 2, of.w, of.b),
        "in evaluation": lambda of: F.batch_norm(of.x, *stats, of.w, of.b, eps=1e-3),
        "of images in evaluation": lambda of: F.batch_norm(of.z, *stats, of.w, of.b),
        "of a batch of one in evaluation": lambda of: F.batch_norm(of.x_t.unsqueeze(0), *stats, of.w, of.b),
        "instance norm in evaluation": lambda of: F.instance_norm(of.z, *stats, of.w, of.b, use_input_stats=False),
    }
    return differences(world, data, 11, by_kernel, second=False) + differences(world, data, 11, to_any_order)


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_batch_norm_in_training(num_ranks: int) -> None:
    assert run_ranks(num_ranks, _training) == [[]] * num_ranks


def _second_derivative(world: World) -> str:
    x = distribute(_tensors()[1]["x"], node_space(world, 11)).requires_grad_()
    try:
        torch.autograd.grad(F.batch_norm(x, None, None, training=True).pow(3).sum(), [x], create_graph=True)
    except UnsupportedOperation as error:
        return str(error)
    return ""


def test_second_derivative_of_batch_norm_is_refused() -> None:
    for error in run_ranks(3, _second_derivative):
        assert error.startswith("batch_norm has no second derivative here")


def _with_recipes(world: World) -> list[float]:
    """How far a model's gradients are from those without recipes."""
    view = View(world=world, config=EngineConfig())
    space = node_space(world, 11, view=view)
    found = []
    for config in ("none", "elementwise"):
        view.config = EngineConfig(recompute=config)
        x = distribute(_tensors()[1]["x"].requires_grad_(), space)
        weight = torch.ones(4, dtype=torch.float64, requires_grad=True)
        torch.manual_seed(1)
        with view.recomputing():
            hidden = F.dropout(F.relu(F.batch_norm(x * weight, None, None, weight, training=True)), 0.4)
            hidden = F.dropout(F.batch_norm(hidden, None, None, weight, training=True), 0.2, inplace=True)
            out = (hidden * hidden).sum()
        found.append(gather(torch.autograd.grad(out, [x, weight])[0]))
    return [float((found[0] - found[1]).abs().max())]


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_made_again_in_backward(num_ranks: int) -> None:
    assert run_ranks(num_ranks, _with_recipes) == [[0.0]] * num_ranks


def _gumbel(world: World) -> list[Tensor]:
    torch.manual_seed(3)
    x = distribute(_tensors()[1]["x"].requires_grad_(), node_space(world, 11))
    soft, hard = F.gumbel_softmax(x, 0.7), F.gumbel_softmax(x, hard=True)
    over_rows = F.gumbel_softmax(x, dim=0)
    grads = torch.autograd.grad((hard * x).sum() + (soft * x).sum(), [x])
    return [gather(out).detach() for out in (soft, hard, over_rows, *grads)]


def test_gumbel_softmax() -> None:
    (alone,), others = run_ranks(1, _gumbel), run_ranks(3, _gumbel)
    for mine, *theirs in zip(alone, *others, strict=True):
        for their in theirs:
            torch.testing.assert_close(their, mine, rtol=1e-12, atol=1e-12)
    soft, hard, over_rows, _ = alone
    torch.testing.assert_close(soft.sum(1), torch.ones(11).double())
    torch.testing.assert_close(over_rows.sum(0), torch.ones(4).double())
    assert hard.round().equal(hard.detach().round())
    torch.testing.assert_close(hard.amax(1), torch.ones(11).double())
