"""Whatever autograd gives to a program of rows, and takes from it, is what one process would have."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fullgraph.comm import World
from fullgraph.errors import UnsupportedOperation
from fullgraph.rows import distribute
from tests.ranks import run_ranks
from tests.rows.programs import Made, N, compare, leaf, random, weight
from tests.rows.spaces import node_space


def grad_attribute(made: Made) -> Any:
    x, w = leaf(made), weight()
    (x @ w).tanh().sum().backward()
    first = x.grad
    assert x.grad is first
    (x @ w).sigmoid().mean().backward()
    return x.grad, w.grad


def changed_between_uses(made: Made) -> Any:
    """What every rank has meets rows, is changed in place, and meets them again."""
    x, w = made(random(N, 4)), weight()
    scale = w[:, 0] * 2
    first = (x * scale).sum()
    scale.mul_(3)
    (first + (x * scale).tanh().sum()).backward()
    return w.grad, first


def changed_mask(made: Made) -> Any:
    """A mask and ids that are changed in place choose other rows."""
    x, mask, ids = leaf(made), made(random(N, seed=3) > 0), made(torch.arange(N) % 5)
    found = []
    for _ in range(2):
        found += [x[mask].tanh().sum(0), x[ids].exp().sum(0)]
        (found[-1] * found[-2]).sum().backward()
        mask.logical_not_()
        ids.add_(1)
    return x.grad, *found


def set_grad(made: Made) -> Any:
    x = leaf(made)
    x.grad = made(random(N, 4, seed=1))
    (x * x).sum().backward()
    everywhere = leaf(made)
    everywhere.grad = random(N, 4, seed=2)
    before = everywhere.grad.clone()
    everywhere.grad.zero_()
    none = leaf(made)
    none.grad = None
    none.grad = everywhere.grad
    del none.grad
    assert none.grad is None
    return x.grad, before, everywhere.grad


def seeds(made: Made) -> Any:
    x, w = leaf(made), weight()
    y = x @ w
    y.backward(made(random(N, 3, seed=1)), retain_graph=True)
    y.backward(gradient=random(N, 3, seed=2))
    return x.grad, w.grad


def seed_of_everywhere(made: Made) -> Any:
    x, w = leaf(made), weight()
    z = (x @ w).sum(0)
    torch.autograd.backward([z, x * 2], [random(3, seed=1), made(random(N, 4, seed=2))])
    return x.grad, w.grad


def chosen_inputs(made: Made) -> Any:
    x, w = leaf(made), weight()
    y = (x * 2).tanh()
    (y @ w).square().sum().backward(inputs=[x])
    assert w.grad is None
    z = (x * 2).tanh()
    (z @ w).square().sum().backward(inputs=(z, w))
    return x.grad, w.grad, z.grad


def retained(made: Made) -> Any:
    x, w = leaf(made), weight()
    y, z = x * 3, (x * 3).sum(0)
    y.retain_grad()
    z.retain_grad()
    ((y @ w).square().sum() + z.square().sum()).backward()
    assert y.retains_grad
    return y.grad, z.grad, x.grad


def autograd_grad(made: Made) -> Any:
    x, w, unused = leaf(made), weight(), leaf(made, seed=9)
    y = (x @ w).tanh()
    one, two = torch.autograd.grad(y, [x, w], made(random(N, 3, seed=1)), retain_graph=True)
    three = torch.autograd.grad(y.sum(), {"x": x, "w": w}, retain_graph=True)
    none = torch.autograd.grad(y.sum(), [x, unused], allow_unused=True, retain_graph=True)
    assert none[1] is None
    zeros = torch.autograd.grad(y.sum(), [x, unused], materialize_grads=True)
    shared = torch.autograd.grad((x + unused).sum(), [x, unused])
    return one, two, three["x"], three["w"], none[0], *zeros, *shared


def functional(made: Made) -> Any:
    """``torch.autograd.functional`` is made of ``torch.autograd.grad``."""
    x, w, of = made(random(N, 4)), random(4, 2, seed=1), torch.autograd.functional
    total = [lambda x: (x @ w).tanh().sum(0), lambda x: (x @ w).tanh().sum()]
    products = [call(total[1], x, x)[1] for call in (of.jvp, of.hvp, of.vhp)]
    return of.jacobian(total[0], x), of.hessian(total[1], x), *products


def no_grad_around_backward(made: Made) -> Any:
    x, w = leaf(made), weight()
    loss = (x @ w).square().sum()
    with torch.no_grad():
        loss.backward()
    return x.grad, w.grad


def hooks(made: Made) -> Any:
    x, w, seen = leaf(made), weight(), []
    scale = random(N, 3, seed=3)
    y = x @ w
    y.register_hook(lambda g: seen.append(g * (g.sum() + 1)))
    y.register_hook(lambda g: g * 2 - g.mean(0))
    y.register_hook(lambda g: scale)
    handle = x.register_hook(lambda g: g * 100)
    handle.remove()
    x.register_hook(hook=lambda g: g / g.norm())
    w.register_hook(lambda g: g / g.norm())
    y.square().sum().backward()
    return *seen, x.grad, w.grad


def accumulated(made: Made) -> Any:
    x, w = leaf(made), weight()
    seen: dict[Tensor, list[Tensor]] = {x: [], w: []}

    def step(p: Tensor) -> None:
        with torch.no_grad():
            p.sub_(p.grad, alpha=0.1)
        seen[p].append(p.grad.norm())
        p.grad = None

    for p in (x, w):
        p.register_post_accumulate_grad_hook(step)
    for _ in range(2):
        (x @ w).square().sum().backward()
    return x.detach(), w.detach(), *seen[x], *seen[w]


def multiple_hooks(made: Made) -> Any:
    x, w, seen = leaf(made), weight(), []
    torch.autograd.graph.register_multi_grad_hook((x, w), lambda grads: seen.extend(grads))
    (x @ w).square().sum().backward()
    return tuple(seen)


def data(made: Made) -> Any:
    x = leaf(made)
    x.data.mul_(2)
    first = x.detach().clone()
    x.data = made(random(N, 4, seed=1))
    x.data = x.data + random(N, 4, seed=2)
    second = x.detach().clone()
    (x * x).sum().backward()
    x.detach().zero_()
    return first, second, x.grad, x


def penalty(made: Made) -> Any:
    x, w, v = leaf(made), weight(), weight(6, 3, 1)
    h = (x @ w).tanh()
    out = ((h - h.mean(0)) @ v).square().mean()
    gx, gw = torch.autograd.grad(out, [x, w], create_graph=True)
    (out + gx.square().sum() + (gw.norm() - 1) ** 2).backward()
    return gx, gw, x.grad, w.grad, v.grad


def seed_with_gradient(made: Made) -> Any:
    x, s, t = leaf(made), leaf(made, seed=2), random(N, 4, seed=3).requires_grad_()
    y = x * x * x
    one = torch.autograd.grad(y, x, s, create_graph=True)[0]
    two = torch.autograd.grad(y, x, t, create_graph=True)[0]
    (one * two).sum().backward()
    return x.grad, s.grad, t.grad


def third_order(made: Made) -> Any:
    x, w = leaf(made), weight()
    y = ((x @ w).sum(0).tanh() * (x @ w)).sum()
    for _ in range(2):
        (y,) = torch.autograd.grad(y, x, create_graph=True)
        y = (y * y.mean(0)).sum()
    return torch.autograd.grad(y, [x, w])


def checkpointed(made: Made, use_reentrant: bool) -> Any:
    torch.manual_seed(3)
    x, w = leaf(made), weight()

    def part(x: Tensor, scale: float) -> Tensor:
        h = (x @ w).tanh() * scale
        h = (h - h.mean(0)).relu()
        return h + h.sum(0)

    y = checkpoint(part, x, 2.0, use_reentrant=use_reentrant)
    y = checkpoint(part, y @ w.t(), 0.5, use_reentrant=use_reentrant)
    y.square().sum().backward()
    return y, x.grad, w.grad


def checkpoint_reentrant(made: Made) -> Any:
    return checkpointed(made, True)


def checkpoint_of_hooks(made: Made) -> Any:
    return checkpointed(made, False)


def saved_hooks(made: Made) -> Any:
    x, w = leaf(made), weight()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t):
        y = (x @ w).tanh()
    with torch.autograd.graph.save_on_cpu():
        z = y.square().sum()
    z.backward()
    return x.grad, w.grad


def modes(made: Made) -> Any:
    x, w = leaf(made), weight()
    with torch.no_grad():
        one = (x @ w).tanh()
    with torch.inference_mode():
        two = (made(random(N, 4)) @ w).relu().sum(0)
        ids = made(torch.arange(N).flip(0))
        five = made(random(N, 4))[ids]
        six = made(random(N, 4))[made(random(N)) > 0].sum(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        three = torch.nn.functional.linear(x.float(), w.float().t())
        assert three.dtype == torch.bfloat16
        four = (x.float() @ w.float()).relu()
    assert not one.requires_grad
    return one, two, three, four, five, six


def module_hooks(made: Made) -> Any:
    layer, seen = torch.nn.Linear(4, 3, dtype=torch.float64), []
    with torch.no_grad():
        layer.weight.copy_(random(3, 4))
        layer.bias.copy_(random(3))
    layer.register_full_backward_hook(lambda module, gi, go: seen.extend([gi[0].sum(0), go[0].sum(0), gi[0]]))
    layer.register_full_backward_hook(lambda module, gi, go: (gi[0] * gi[0].norm(),))
    layer.register_full_backward_pre_hook(lambda module, go: (go[0] * 2,))
    x = leaf(made)
    layer(x).square().sum().backward()
    return *seen, x.grad, layer.weight.grad, layer.bias.grad


def deep_copy(made: Made) -> Any:
    table = torch.nn.Embedding(2, 2)
    table.weight = torch.nn.Parameter(leaf(made))
    again = copy.deepcopy(table)
    assert isinstance(again.weight, torch.nn.Parameter)
    again.weight.data.add_(1)
    table.weight.square().sum().backward()
    third = copy.deepcopy(table)
    third.weight.grad = table.weight.grad.clone()
    plain = leaf(made)
    plain.square().sum().backward()
    again_plain = copy.deepcopy(plain)
    halved = copy.deepcopy(third)
    halved.weight.grad = third.weight.grad.clone()
    halved.to(torch.float32)
    assert isinstance(halved.weight, torch.nn.Parameter)
    assert halved.weight.grad.dtype == torch.float32
    optimizer = torch.optim.Adam(third.parameters(), 0.1)
    optimizer.step()
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    optimizer.step()
    average = torch.optim.swa_utils.AveragedModel(table, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    for _ in range(2):
        table.weight.data.mul_(2)
        average.update_parameters(table)
    table.zero_grad(set_to_none=False)
    return (
        again_plain,
        again_plain.grad,
        table.weight,
        again.weight,
        third.weight,
        third.weight.grad,
        halved.weight,
        average.module.weight,
        table.weight.grad,
    )


_PROGRAMS = [
    grad_attribute, changed_between_uses, changed_mask, set_grad, seeds, seed_of_everywhere, chosen_inputs, retained,
    autograd_grad, functional,
    no_grad_around_backward, hooks, accumulated, multiple_hooks, data, penalty, seed_with_gradient, third_order,
    checkpoint_reentrant, checkpoint_of_hooks, saved_hooks, modes, module_hooks, deep_copy,
]  # fmt: skip


@pytest.mark.parametrize("num_ranks", [1, 3])
@pytest.mark.parametrize("program", _PROGRAMS, ids=lambda p: p.__name__)
def test_is_what_one_process_has(num_ranks: int, program: Callable[[Made], Any]) -> None:
    run_ranks(num_ranks, compare, program)


def _refusals(world: World) -> list[str]:
    space, errors = node_space(world, N), []
    x = distribute(random(N, 4), space).requires_grad_()
    one = distribute(random(1), node_space(world, 1, "one")).requires_grad_()
    y = (x * 2).tanh()
    (one * 2).backward()
    assert one.grad is not None
    for error, call in (
        (RuntimeError, lambda: y.backward()),
        (RuntimeError, lambda: torch.autograd.grad(y, x)),
        (RuntimeError, lambda: y.backward(random(4, N))),
        (RuntimeError, lambda: torch.autograd.grad(y.sum(), [x, x.detach().requires_grad_()])),
        (RuntimeError, lambda: x.detach().sum().backward()),
        (RuntimeError, lambda: setattr(x, "grad", random(N, 3))),
        (RuntimeError, lambda: copy.deepcopy(y)),
        (RuntimeError, lambda: y.register_post_accumulate_grad_hook(print)),
        (RuntimeError, lambda: y.requires_grad_(False)),
        (UnsupportedOperation, lambda: torch.autograd.grad(y, x, random(2, N, 4), is_grads_batched=True)),
    ):
        try:
            errors.append(f"{error}: {call()}")
        except error:
            continue
    return errors


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_raises_what_torch_does(num_ranks: int) -> None:
    assert not any(run_ranks(num_ranks, _refusals))


def _dropout(world: World) -> None:
    """A checkpoint draws again what it drew."""
    space, grads = node_space(world, N), []
    for use_reentrant in (None, True, False):
        torch.manual_seed(7)
        x, w = distribute(random(N, 4), space).requires_grad_(), weight()

        def part(x: Tensor, w: Tensor = w) -> Tensor:
            h = torch.nn.functional.dropout((x @ w).tanh(), 0.5, True)
            return h + torch.rand_like(h) * h

        y = part(x) if use_reentrant is None else checkpoint(part, x, use_reentrant=use_reentrant)
        torch.nn.functional.dropout(y, 0.5, True).square().sum().backward()
        grads.append((y.detach(), x.grad, w.grad))
    for other in grads[1:]:
        for one, two in zip(grads[0], other, strict=True):
            assert torch.equal(one, two)
            assert one.any()


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_a_checkpoint_draws_again_what_it_drew(num_ranks: int) -> None:
    run_ranks(num_ranks, _dropout)
