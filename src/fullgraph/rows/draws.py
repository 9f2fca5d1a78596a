"""Dropout and random numbers for rows, keyed by the draw and the row, so that they are the same on any number of ranks.

torch's generator gives out numbers in order of use: a rank's rows would get other ones with each other partition. Here
it gives one number for each draw, the key, on all ranks the same; and a row's own key is the same wherever it lies.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import init

from fullgraph.engine import draw_key, keyed_dropout, keyed_normal, keyed_uniform
from fullgraph.rows.calls import named, refuse, writes
from fullgraph.rows.gradients import only_once
from fullgraph.rows.space import Space
from fullgraph.rows.table import called, composite, meaning
from fullgraph.rows.tensor import MEANINGS, Rows, functions_off, local, rows

Draw = Callable[[tuple[int, ...], int, Tensor, torch.dtype], Tensor]
"""Numbers of a shape, whose first dimension rows are, by a draw's key and the rows' keys."""


def drawn(draw: Draw, shape: tuple[int, ...], space: Space, dim: int, dtype: torch.dtype) -> Tensor:
    """Numbers for local rows, dimension ``dim`` of ``shape``. All ranks take the next key."""
    key = draw_key()
    if dim == 0:
        return draw(shape, key, space.keys, dtype)
    first = (shape[dim], *shape[:dim], *shape[dim + 1 :])
    return draw(first, key, space.keys, dtype).movedim(0, dim).contiguous()


def _like(x: Rows, draw: Draw, dtype: torch.dtype | None = None) -> Tensor:
    return drawn(draw, tuple(x.shape), x._space, x._dim, dtype or x.dtype)


def check_no_generator(func: Any, given: dict[str, Any]) -> None:
    """Refuse a generator, whose numbers would come in order of use."""
    if given.get("generator") is not None:
        refuse(func, "draws by the rows' ids and torch.manual_seed; leave out its generator")


def as_asked(
    values: Tensor, dtype: torch.dtype | None = None, device: Any = None, requires_grad: bool = False, **_: Any
) -> Tensor:
    """Values as a factory was asked for them."""
    with functions_off():
        return values.to(device=device, dtype=dtype).requires_grad_(bool(requires_grad))


# -- dropout


def _chance(func: Any, x: Tensor, p: float, train: bool) -> float:
    """The probability of being dropped; 0 where nothing is."""
    if not 0.0 <= p <= 1.0:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not x.is_floating_point():
        refuse(func, "drops only from floating-point rows")
    return p if train else 0.0


def _put(x: Rows, values: Tensor, in_place: bool) -> Tensor:
    return x.copy_(values) if in_place else rows(values, x._space, x._dim)


@called("dropout dropout_")
def _dropout(func: Any, input: Rows, p: float, train: bool) -> Tensor:
    x, p = input, _chance(func, input, p, train)
    if p == 0:
        return x
    key, keys, in_place = draw_key(), x._space.keys, writes(func.__name__)
    if x._dim != 0:
        dropped = keyed_dropout(local(x).movedim(x._dim, 0), p, key, keys)
        only_once(dropped, "dropout")
        return _put(x, dropped.movedim(0, x._dim), in_place)
    recipes = x._space.view.recipes
    before = None if recipes is None else recipes.origin(x)
    out = rows(keyed_dropout(x, p, key, keys, overwrites=in_place), x._space)
    only_once(out, "dropout")
    if recipes is not None and before is not None:
        recipes.note(out, before, lambda rows, places: keyed_dropout(rows, p, key, keys[places]))
    return out


@called("alpha_dropout alpha_dropout_ feature_dropout feature_dropout_ feature_alpha_dropout feature_alpha_dropout_")
def _dropout_by_mask(func: Any, input: Rows, p: float, train: bool) -> Tensor:
    """Of features: whole channels, the second dimension."""
    x, name, p = input, func.__name__, _chance(func, input, p, train)
    if p == 0:
        return x
    if "feature" in name and x.dim() < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    if "feature" in name and x._dim > 1:
        refuse(func, "would drop from all rows together")
    shape = tuple(size if d < 2 or "feature" not in name else 1 for d, size in enumerate(x.shape))
    dtype = torch.float64 if x.dtype == torch.float64 and "feature" not in name else torch.float32
    is_kept = drawn(keyed_uniform, shape, x._space, x._dim, dtype) >= p
    if "alpha" in name:
        out = _alpha_dropped(local(x), p, is_kept)
    else:
        out = local(x) * (is_kept.to(x.dtype) / (1 - p) if p < 1 else is_kept.to(x.dtype) * 0)
    return _put(x, out, writes(name))


def _alpha_dropped(x: Tensor, p: float, is_kept: Tensor) -> Tensor:
    """Klambauer 2017: dropped is what SELU tends to, and mean and variance stay what they are."""
    if p == 1:
        return x * 0
    alpha = 1.7580993408473766
    scale = 1 / math.sqrt((alpha**2 * p + 1) * (1 - p))
    is_kept = is_kept.to(x.dtype)
    return x * (is_kept * scale) + (is_kept - 1 + p) * (alpha * scale)


# -- numbers like rows


@called("rand_like randn_like")
def _random_like(func: Any, input: Rows, **asked: Any) -> Tensor:
    check_no_generator(func, asked)
    dtype = asked.get("dtype") or input.dtype
    if not dtype.is_floating_point:
        refuse(func, "draws only floating-point numbers")
    values = _like(input, keyed_normal if func.__name__ == "randn_like" else keyed_uniform, dtype)
    return rows(as_asked(values, **asked), input._space, input._dim)


def integers(uniform: Tensor, low: int, high: int) -> Tensor:
    """Of float64 numbers from 0 to 1 the integers ``low <= i < high``, int64.

    Raises:
        RuntimeError: if there are none.
    """
    if low >= high:
        raise RuntimeError(f"random integers need from < to, but found from={low} >= to={high}")
    if high - low > 1 << 53:
        refuse("randint", "has at most 2**53 integers to choose from")
    return (uniform * (high - low)).floor().long() + low


@composite("bernoulli")
def _bernoulli(input: Tensor, p: float | None = None, **generator: Any) -> Tensor:
    check_no_generator("bernoulli", generator)
    if p is None and not input.is_floating_point():
        refuse("bernoulli", "takes floating-point probabilities")
    is_one = _is_below(input, input.detach() if p is None else p)
    of_none = torch.zeros_like(is_one)  # torch's result has a gradient, of zeros
    return torch.where(of_none, input, is_one.to(input.dtype))


@composite("normal")
def _normal(mean: Any, std: Any = 1.0, **generator: Any) -> Tensor:
    check_no_generator("normal", generator)
    dtype = mean.dtype if isinstance(mean, Tensor) else std.dtype
    with torch.no_grad():
        return mean + std * torch.randn_like(mean + std, dtype=dtype)


# -- numbers into rows


def _exponential(uniform: Tensor, rate: float) -> Tensor:
    # 1 is not among the numbers but 0 is, and torch gives no 0, because others take the logarithm of the result.
    return -torch.log1p(-uniform.clamp_min(torch.finfo(uniform.dtype).eps / 2)) / rate


# Of each: how it draws, the names of its parameters, what they are if not given, and what it makes of a draw.
_INTO_ROWS: dict[str, tuple[Draw, str, tuple[float, ...], Callable[..., Tensor]]] = {
    "uniform_": (keyed_uniform, "from to", (0.0, 1.0), lambda uniform, low, high: low + uniform * (high - low)),
    "normal_": (keyed_normal, "mean std", (0.0, 1.0), lambda normal, mean, std: mean + std * normal),
    "log_normal_": (keyed_normal, "mean std", (1.0, 2.0), lambda normal, mean, std: (mean + std * normal).exp()),
    "exponential_": (keyed_uniform, "lambd", (1.0,), _exponential),
}


@meaning(" ".join(_INTO_ROWS))
def _draw_into(func: Any, args: Any, kwargs: Any) -> Tensor:
    draw, names, defaults, made = _INTO_ROWS[func.__name__]
    given = named(args, kwargs, f"input {names}")
    check_no_generator(func, given)
    x = given["input"]
    if not x.is_floating_point():
        refuse(func, "draws only floating-point numbers")
    parameters = [given.get(name, value) for name, value in zip(names.split(), defaults, strict=True)]
    func(torch.empty(0, dtype=x.dtype), *parameters)  # says which parameters it does not take, and draws nothing
    return x.copy_(made(_like(x, draw), *parameters))


@composite("bernoulli_")
def _bernoulli_into(input: Tensor, p: Any = 0.5, **generator: Any) -> Tensor:
    check_no_generator("bernoulli_", generator)
    if not isinstance(input, Rows):
        refuse("bernoulli_", "would write rows into a tensor that every rank has")
    if input.dtype.is_complex or (isinstance(p, Tensor) and not p.is_floating_point()):
        refuse("bernoulli_", "takes floating-point probabilities, and draws no complex numbers")
    return input.copy_(_is_below(input, p))


def _is_below(x: Tensor, chance: Any) -> Tensor:
    """Where numbers from 0 to 1, fine enough for it, are below a probability."""
    within = (chance >= 0) & (chance <= 1)
    if not (bool(within.all()) if isinstance(within, Tensor) else within):
        raise RuntimeError("bernoulli expects every p to be from 0 to 1")
    return torch.rand_like(x, dtype=torch.float64 if x.dtype == torch.float64 else torch.float32) < chance


@meaning("random_")
def _integers_into(func: Any, args: Any, kwargs: Any) -> Tensor:
    given = named(args, kwargs, "input to" if len(args) == 2 else "input from to")
    check_no_generator(func, given)
    x, low, high = given["input"], given.get("from", 0), given.get("to")
    if high is None:
        refuse(func, "needs a largest number")
    return x.copy_(integers(_like(x, keyed_uniform, torch.float64), low, high))


# -- torch.nn.init, whose functions have the names of methods and other parameters


def _kaiming_uniform(
    tensor: Tensor, a: float = 0, mode: Any = "fan_in", nonlinearity: Any = "leaky_relu", generator: Any = None
) -> Tensor:
    fan = init._calculate_correct_fan(tensor, mode)
    bound = math.sqrt(3.0) * init.calculate_gain(nonlinearity, a) / math.sqrt(fan)
    return init._no_grad_uniform_(tensor, -bound, bound, generator)


for _func, _of in {
    init.kaiming_uniform_: _kaiming_uniform,
    init.constant_: init._no_grad_fill_,
    init.uniform_: init._no_grad_uniform_,
    init.normal_: init._no_grad_normal_,
}.items():
    MEANINGS[_func] = lambda func, args, kwargs, of=_of: of(*args, **kwargs)
