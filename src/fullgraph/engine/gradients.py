"""One sum over ranks per step: all gradients travel as a single flat tensor, just before the optimizer reads them."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import Parameter

from fullgraph.comm import World


def sum_gradients(parameters: Iterable[Parameter], world: World) -> None:
    """Replace every parameter's gradient by its sum over ranks, in place. Collective.

    A parameter that received a gradient on some ranks only (a rank without training rows, say) gets the sum everywhere;
    one without a gradient on any rank keeps None, so that optimizers skip it as on one rank.
    """
    by_dtype: dict[torch.dtype, list[Parameter]] = {}
    for parameter in parameters:
        if parameter.requires_grad:
            by_dtype.setdefault(parameter.dtype, []).append(parameter)
    for dtype, group in by_dtype.items():
        present = torch.tensor([p.grad is not None for p in group], dtype=dtype, device=group[0].device)
        flat = world.all_reduce(torch.cat([*(_flat_gradient(p) for p in group), present]))
        sums = flat[: -len(group)].split([p.numel() for p in group])
        for parameter, total, ranks in zip(group, sums, flat[-len(group) :].tolist(), strict=True):
            if ranks:
                parameter.grad = total.view_as(parameter).clone()


def norm_over_ranks(shared: Iterable[Tensor], own: Iterable[Tensor], world: World) -> float:
    """The Euclidean norm of tensors that are equal on all ranks and of others that every rank has its own of.

    Collective; equal on all ranks.
    """
    of_own = sum((t.double().square().sum() for t in own), torch.zeros((), dtype=torch.float64, device=world.device))
    of_shared = sum((t.double().square().sum() for t in shared), torch.zeros_like(of_own))
    return float((world.all_reduce(of_own) + of_shared).sqrt())


def _flat_gradient(parameter: Parameter) -> Tensor:
    return torch.zeros_like(parameter).view(-1) if parameter.grad is None else parameter.grad.reshape(-1)
