"""The steps of a norm over rows, each in one pass: sums over rows by column, and rows made of rows.

All take ``x`` ``[n, F]`` and the ``mean`` ``[F]`` of each column, contiguous; what is given by column is of the dtype
that rows are summed in, float32 for those of 16 bits. A deviation is
``x - mean``: taken before it is multiplied, so that nothing is lost where the mean is far from zero.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from fullgraph.ops import gpu, native, reference
from fullgraph.ops.checks import check
from fullgraph.ops.dtypes import accumulator
from fullgraph.ops.plain import plain


@plain
def column_sums(x: Tensor) -> Tensor:
    """Sum of each column, float64 ``[F]``: on a CPU in pieces of the rows, where torch's would widen them all at once.

    Raises:
        InputError: if ``x`` is not contiguous rows.
    """
    check("x", x, [-1, -1], x.dtype, x.device)
    if not native.sums(x):
        return reference.column_sums(x)
    return _made(reference.column_sums, (x,), x.new_empty(x.size(1), dtype=torch.float64))


@plain
def squared_deviations(x: Tensor, mean: Tensor) -> Tensor:
    """Sum of the squared deviations of each column, float64 ``[F]``.

    Raises:
        InputError: on tensors that do not fit.
    """
    _check(x, x, mean)
    return _made(reference.squared_deviations, (x, mean), x.new_empty(x.size(1), dtype=torch.float64))


@plain
def gradient_sums(grad: Tensor, x: Tensor, mean: Tensor) -> Tensor:
    """Sum of the gradient, and of its products with the deviations, of each column: float64 ``[2, F]``.

    Args:
        grad: as ``x``.

    Raises:
        InputError: on tensors that do not fit.
    """
    _check(grad, x, mean)
    return _made(reference.gradient_sums, (grad, x, mean), x.new_empty((2, x.size(1)), dtype=torch.float64))


@plain
def scaled_deviations(x: Tensor, mean: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """``(x - mean) * scale + shift``, new ``[n, F]``.

    Args:
        scale: ``[F]``.
        shift: ``[F]``.

    Raises:
        InputError: on tensors that do not fit.
    """
    _check(x, x, mean, scale, shift)
    return _made(reference.scaled_deviations, (x, mean, scale, shift))


@plain
def combined_gradient(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    of_grad: Tensor,
    of_deviation: Tensor,
    shift: Tensor,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """``grad * of_grad + (x - mean) * of_deviation + shift``, ``[n, F]``.

    Args:
        grad: as ``x``.
        of_grad: ``[F]``.
        of_deviation: ``[F]``.
        shift: ``[F]``.
        out: as ``x``, where the result goes, which may be ``grad`` itself; None for a new tensor.

    Raises:
        InputError: on tensors that do not fit.
    """
    _check(grad, x, mean, of_grad, of_deviation, shift, out=out)
    return _made(reference.combined_gradient, (grad, x, mean, of_grad, of_deviation, shift), out)


@plain
def positive_gradient(
    grad: Tensor, x: Tensor, mean: Tensor, scale: Tensor, shift: Tensor, *, out: Tensor | None = None
) -> Tensor:
    """The gradient where `scaled_deviations` makes a number above zero, or NaN, and 0 elsewhere: ``[n, F]``.

    Args:
        grad: as ``x``.
        scale: ``[F]``.
        shift: ``[F]``.
        out: as ``x``, where the result goes, which may be ``grad`` itself; None for a new tensor.

    Raises:
        InputError: on tensors that do not fit.
    """
    _check(grad, x, mean, scale, shift, out=out)
    return _made(reference.positive_gradient, (grad, x, mean, scale, shift), out)


@plain
def head_dots(left: Tensor, right: Tensor) -> Tensor:
    """``<left[i, h], right[i, h]>`` of rows ``[n, H, C]``, where left may be ``[n, 1, C]`` for all heads.

    Returns:
        ``[n, H]``, of the dtype that right is summed in.

    Raises:
        InputError: on tensors that do not fit.
    """
    check("right", right, [-1, -1, -1], right.dtype, right.device)
    heads = left.size(1) if left.size(1) == 1 else right.size(1)
    check("left", left, [right.size(0), heads, right.size(2)], left.dtype, right.device)
    dtype = accumulator(right.dtype)
    out = right.new_empty(right.shape[:2], dtype=dtype)
    if gpu.runs(right):
        gpu.kernel("head_dots")(left, right, out)
        return out
    return out.copy_(reference.head_dots(left.to(dtype), right.to(dtype)))


def _made(twin: Callable[..., Tensor], given: tuple[Tensor, ...], out: Tensor | None = None) -> Tensor:
    """What the twin makes, in ``out`` or new, by the kernel of its name where there is one."""
    out = torch.empty_like(given[0]) if out is None else out
    if gpu.runs(given[0]):
        gpu.kernel(twin.__name__)(*given, out)
    elif native.sums(given[0]):
        getattr(native.core, twin.__name__)(*map(native.array, (*given, out)), native.threads())
    else:
        out.copy_(twin(*given))
    return out


def _check(grad: Tensor, x: Tensor, *columns: Tensor, out: Tensor | None = None) -> None:
    check("x", x, [-1, -1], x.dtype, x.device)
    for name, rows in (("grad", grad), ("out", out)):
        if rows is not None:
            check(name, rows, list(x.shape), x.dtype, x.device)
    for column in columns:
        check("what is given by column", column, [x.size(1)], accumulator(x.dtype), x.device)
