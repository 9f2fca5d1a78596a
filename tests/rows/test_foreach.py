"""Optimizers, clipping and scaling of a table with a row per node, beside parameters that every rank has."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fullgraph.comm import World
from fullgraph.errors import UnsupportedOperation
from fullgraph.rows import distribute
from tests.ranks import run_ranks
from tests.rows.programs import Made, N, compare, leaf, random, weight
from tests.rows.spaces import node_space


def _model(made: Made) -> nn.Module:
    model = nn.Module()
    model.table = nn.Parameter(made(random(N, 4)))
    model.weight = nn.Parameter(random(4, 3, seed=1))
    model.bias = nn.Parameter(made(random(N, seed=2)))
    return model


def _loss(model: Any) -> Tensor:
    return ((model.table @ model.weight).tanh() * 3 + model.bias[:, None] - 1).square().mean()


def _trained(
    make: Callable[[Any], torch.optim.Optimizer], clip: Any = None, scaler: Any = None
) -> Callable[[Made], Any]:
    def program(made: Made) -> Any:
        model, seen = _model(made), []
        optimizer = make(model.parameters())
        scaling = scaler() if scaler else None
        for step in range(4):
            optimizer.zero_grad(set_to_none=step < 2)
            if scaling is None:
                _loss(model).backward()
            else:
                loss = _loss(model) * torch.tensor(float("inf") if step == 2 else 1.0)
                scaling.scale(loss).backward()
                scaling.unscale_(optimizer)
            if clip is not None:
                seen.append(clip(model.parameters()))
            if scaling is None:
                optimizer.step()
            else:
                scaling.step(optimizer)
                scaling.update()
                seen.append(torch.tensor(scaling.get_scale()))
        assert list(model.state_dict()) == ["table", "weight", "bias"]
        again = _model(made)
        again.load_state_dict(model.state_dict())
        for state in optimizer.state.values():
            seen.extend(value for value in state.values() if isinstance(value, Tensor))
        return *seen, *model.parameters(), *again.state_dict().values()

    return program


def _one_rank_overflows(made: Made) -> Any:
    """Only one row has a gradient that is not finite."""
    x = leaf(made)
    scaler, optimizer = torch.amp.GradScaler("cpu", init_scale=8.0), torch.optim.SGD([x], 0.1)
    for first in (1.0, float("inf"), 2.0):
        optimizer.zero_grad()
        scale = torch.ones(N, 1, dtype=torch.float64)
        scale[0] = first
        scaler.scale((x * made(scale)).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    return x.detach(), torch.tensor(scaler.get_scale())


def _in_place(made: Made) -> Any:
    x, y, w = made(random(N, 4)), made(random(N, 4, seed=1)), random(3)
    torch._foreach_add_([x, w], [y, w], alpha=2)
    torch._foreach_mul_((x, w), [2.0, 3.0])
    torch._foreach_mul_([w, x], torch.tensor(0.5, dtype=torch.float64))
    torch._foreach_addcdiv_([x, w], [y, w], [y.exp(), w], torch.tensor([3.0, 4.0], dtype=torch.float64))
    torch._foreach_addcmul_([w, x], [w, y], [w, y], value=3)
    torch._foreach_lerp_([w, x], [w, y], 0.25)
    torch._foreach_div_([x], [random(N, 4, seed=4)])
    torch._foreach_copy_([y], [x])
    torch._foreach_zero_([y])
    return x, w, y


def _functional(made: Made) -> Any:
    x, y, w = leaf(made), leaf(made, N, seed=1), weight()
    out = torch._foreach_mul([x, w, y], [random(1, 4, seed=3), w, 2 * y])
    out += torch._foreach_sqrt(torch._foreach_abs([w, y]))
    out += torch._foreach_pow(2.0, [y, w])
    out += torch._foreach_clamp_min([y, w], 0.1)
    out += torch._foreach_norm([x, w, y]) + torch._foreach_norm([y, w], float("inf")) + torch._foreach_max([w, x])
    grads = torch.autograd.grad(torch.stack([each.sum() for each in out]).square().sum(), [x, y, w])
    return *out, *grads


def _norms(made: Made) -> Any:
    x, y, w = made(random(N, 4)), made(random(N, seed=1)), random(3)
    norms = [
        torch.nn.utils.get_total_norm([x, w, y], p, foreach=foreach)
        for p in (2.0, 1.0, float("inf"))
        for foreach in (None, False, True)
    ]
    x.grad, w.grad = y[:, None] * x * 9, w * 100
    torch.nn.utils.clip_grad_value_([x, w], 0.5)
    return *norms, x.grad, w.grad


def _clip(**kwargs: Any) -> Callable[[Any], Tensor]:
    return lambda parameters: torch.nn.utils.clip_grad_norm_(parameters, 0.05, **kwargs)


def _scaler() -> Any:
    return torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2)


_PROGRAMS: dict[str, Callable[[Made], Any]] = {
    "in place": _in_place,
    "functional": _functional,
    "norms": _norms,
    "one rank overflows": _one_rank_overflows,
    "adam": _trained(lambda p: torch.optim.Adam(p, 0.1, weight_decay=0.1)),
    "adam, foreach": _trained(lambda p: torch.optim.Adam(p, 0.1, foreach=True, amsgrad=True), _clip(foreach=True)),
    "adam, fused": _trained(lambda p: torch.optim.Adam(p, 0.1, fused=True)),
    "adamw, clipped": _trained(lambda p: torch.optim.AdamW(p, 0.1), _clip()),
    "sgd, foreach": _trained(
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, foreach=True), _clip(norm_type=1)
    ),
    "sgd, fused": _trained(lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, fused=True)),
    "rmsprop, foreach": _trained(lambda p: torch.optim.RMSprop(p, 0.1, foreach=True, centered=True)),
    "adagrad, fused": _trained(lambda p: torch.optim.Adagrad(p, 0.1, fused=True)),
    "adamax": _trained(lambda p: torch.optim.Adamax(p, 0.1)),
    "nadam, foreach": _trained(lambda p: torch.optim.NAdam(p, 0.1, foreach=True)),
    "adadelta, foreach": _trained(lambda p: torch.optim.Adadelta(p, foreach=True)),
    "rprop": _trained(lambda p: torch.optim.Rprop(p)),
    "rprop, foreach": _trained(lambda p: torch.optim.Rprop(p, foreach=True)),
    "scaler": _trained(lambda p: torch.optim.SGD(p, 0.1), _clip(), _scaler),
    "scaler, fused": _trained(lambda p: torch.optim.Adam(p, 0.1, fused=True), None, _scaler),
}


@pytest.mark.parametrize("num_ranks", [1, 3])
@pytest.mark.parametrize("name", _PROGRAMS)
def test_is_what_one_process_has(num_ranks: int, name: str) -> None:
    run_ranks(num_ranks, _run, name)


def _run(world: World, name: str) -> None:
    compare(world, _PROGRAMS[name], rtol=1e-5 if "scaler" in name or "overflows" in name else 1e-10)


def _refusals(world: World) -> None:
    space = node_space(world, N)
    x, y, w = distribute(random(N, 4), space), distribute(random(N), space), random(N, 4)
    with pytest.raises(UnsupportedOperation, match="into a tensor that every rank has"):
        torch._foreach_add_([w], [x])
    with pytest.raises(UnsupportedOperation, match="all tensors of a list"):
        torch._foreach_mul([w, x], distribute(random(1), node_space(world, 1, "one")))
    with pytest.raises(UnsupportedOperation):
        torch._foreach_mm([x], [w.t()])
    with pytest.raises(RuntimeError, match="same number of tensors"):
        torch._foreach_add([x, w], [x])
    with pytest.raises(UnsupportedOperation, match="of others"):
        torch._fused_sgd_(
            [x], [w], [], weight_decay=0.0, momentum=0.0, lr=0.1, dampening=0.0, nesterov=False, maximize=False,
            is_first_step=False,
        )  # fmt: skip
    assert y.shape == (N,)


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_refusals(num_ranks: int) -> None:
    run_ranks(num_ranks, _refusals)
