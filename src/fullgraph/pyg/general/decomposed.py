"""Which of PyG's aggregations are functions of statistics that can be formed block by block, with PyG's formulas.

Exact classes only, as with layers. Medians, quantiles, sorts and recurrent networks need all of a destination's
messages at once.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn import aggr

from fullgraph.engine import Decomposition, Extremum, Product, SoftmaxSum, Statistic, Sum, Values
from fullgraph.pyg.general.choice import has_hooks


def decomposed(module: aggr.Aggregation) -> Decomposition | None:
    """How ``module`` follows from statistics; None if it does not."""
    rule = _RULES.get(type(module))
    return None if rule is None or any(map(has_hooks, module.modules())) else rule(module)


def _itself(messages: Tensor) -> Tensor:
    return messages


def _squared(messages: Tensor) -> Tensor:
    return messages * messages


@torch.no_grad()
def _squared_constant(messages: Tensor) -> Tensor:
    return messages * messages


_SUM, _SQUARES, _CONSTANT_SQUARES = Sum(_itself), Sum(_squared), Sum(_squared_constant)


def _columns(degree: Tensor, like: Tensor) -> Tensor:
    """Degrees as numbers of ``like``'s dtype, to be spread over its rows."""
    return degree.to(like.dtype).view(-1, *[1] * (like.dim() - 1))


def _mean(total: Tensor, degree: Tensor) -> Tensor:
    return total / _columns(degree.clamp(min=1), total)


def _alone(statistic: Statistic) -> Callable[[Any], Decomposition]:
    return lambda module: Decomposition((statistic,))


def _of_mean(module: aggr.Aggregation) -> Decomposition:
    return Decomposition((_SUM,), lambda values, degree: _mean(values[_SUM], degree))


def _of_var(module: aggr.VarAggregation) -> Decomposition:
    squares = _CONSTANT_SQUARES if module.semi_grad else _SQUARES

    def finish(values: Values, degree: Tensor) -> Tensor:
        mean = _mean(values[_SUM], degree)
        return _mean(values[squares], degree) - mean * mean

    return Decomposition((_SUM, squares), finish, linear=False)


def _of_std(module: aggr.StdAggregation) -> Decomposition | None:
    var = decomposed(module.var_aggr)
    if var is None:
        return None

    def finish(values: Values, degree: Tensor) -> Tensor:
        out = var.finish(values, degree).clamp(min=1e-5).sqrt()
        return out.masked_fill(out <= math.sqrt(1e-5), 0.0)

    return Decomposition(var.statistics, finish, linear=False)


def _per_channel(learned: Any, channels: int) -> Any:
    return learned.view(-1, channels) if channels != 1 else learned


def _of_softmax(module: aggr.SoftmaxAggregation) -> Decomposition:
    return Decomposition((SoftmaxSum(_Learned(module, "t"), module.learn or not module.semi_grad),))


def _of_power_mean(module: aggr.PowerMeanAggregation) -> Decomposition:
    p = _Learned(module, "p")
    if not module.learn and module.p == 1:
        return _of_mean(module)
    powers = Sum(_Power(module, p))

    def finish(values: Values, degree: Tensor) -> Tensor:
        mean = _mean(values[powers], degree)
        return mean.clamp(min=module.min_value, max=module.max_value).pow(1.0 / p())

    return Decomposition((powers,), finish, linear=False)


@dataclass(frozen=True)
class _Learned:
    """Reads a number or a parameter of an aggregation, one per channel if it has many."""

    module: aggr.Aggregation
    name: str

    def __call__(self) -> Any:
        return _per_channel(getattr(self.module, self.name), self.module.channels)  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class _Power:
    """A power mean's messages, clamped and raised."""

    module: aggr.PowerMeanAggregation
    p: _Learned

    def __call__(self, messages: Tensor) -> Tensor:
        return messages.clamp(min=self.module.min_value, max=self.module.max_value).pow(self.p())


def _of_several(module: aggr.MultiAggregation) -> Decomposition | None:
    parts = [decomposed(one) for one in module.aggrs]  # pyright: ignore[reportArgumentType]
    semi = {m.semi_grad for m in module.modules() if type(m) is aggr.VarAggregation}
    # Attention over the results may drop some; fused, one half-differentiated variance makes all of them so.
    if any(part is None for part in parts) or module.mode == "attn" or len(semi) > 1:
        return None
    found = [part for part in parts if part is not None]
    statistics = tuple(dict.fromkeys(statistic for part in found for statistic in part.statistics))

    def finish(values: Values, degree: Tensor) -> Tensor:
        return module.combine([part.finish(values, degree) for part in found])

    linear = (module.mode == "cat" or len(found) == 1) and all(part.linear for part in found)
    return Decomposition(statistics, finish, linear)


def _of_scaled(module: aggr.DegreeScalerAggregation) -> Decomposition | None:
    inner = decomposed(module.aggr)
    scalers = [scaler for scaler in module.scaler if scaler in _SCALERS]
    if inner is None or len(scalers) < len(module.scaler):
        return None

    def finish(values: Values, degree: Tensor) -> Tensor:
        out = inner.finish(values, degree)
        columns = _columns(degree, out)
        scaled = [out if scaler == "identity" else out * _SCALERS[scaler](module, columns) for scaler in scalers]
        return torch.cat(scaled, dim=-1) if len(scaled) > 1 else scaled[0]

    learned = any(p.requires_grad for p in module.parameters(recurse=False))
    return Decomposition(inner.statistics, finish, inner.linear and not learned)


# By degree; the identity needs none. As Corso 2020, eq. 5, with PyG's care for nodes without in-edges.
_SCALERS: dict[str, Callable[[Any, Tensor], Any]] = {
    "identity": lambda module, degree: 1,
    "amplification": lambda module, degree: torch.log(degree + 1) / module.avg_deg_log,
    "attenuation": lambda module, degree: module.avg_deg_log / torch.log(degree.clamp(min=1) + 1),
    "linear": lambda module, degree: degree / module.avg_deg_lin,
    "inverse_linear": lambda module, degree: module.avg_deg_lin / degree.clamp(min=1),
}

_RULES: dict[type, Callable[[Any], Decomposition | None]] = {
    aggr.SumAggregation: _alone(_SUM),
    aggr.MeanAggregation: _of_mean,
    aggr.MaxAggregation: _alone(Extremum(largest=True)),
    aggr.MinAggregation: _alone(Extremum(largest=False)),
    aggr.MulAggregation: _alone(Product()),
    aggr.VarAggregation: _of_var,
    aggr.StdAggregation: _of_std,
    aggr.SoftmaxAggregation: _of_softmax,
    aggr.PowerMeanAggregation: _of_power_mean,
    aggr.MultiAggregation: _of_several,
    aggr.DegreeScalerAggregation: _of_scaled,
}
