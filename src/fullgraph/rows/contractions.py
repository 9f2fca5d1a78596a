"""Products that sum over dimensions, by one idea: each dimension has a letter, and one letter is the rows'.

Every rank multiplies its own rows, and what every rank has is cut along the rows' letter. If the letter is in the
result, the result's rows are complete; if it is summed, the ranks' products are added up. Two letters for rows ask for
every pair of rows: those with the fewer rows are gathered.
"""

import string
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fullgraph.engine import is_differentiable_again
from fullgraph.engine import linear as engine_linear
from fullgraph.rows.adjoints import gather, sum_over_ranks
from fullgraph.rows.alignment import at_rows, broadcast, moved, one_space, spread, wrapped
from fullgraph.rows.calls import dimension, name_of, refuse
from fullgraph.rows.gradients import only_once
from fullgraph.rows.space import Space
from fullgraph.rows.table import called, composite, entered, entered_values
from fullgraph.rows.tensor import Rows, functions_off, local, rows, sizes

_LOWER, _UPPER = string.ascii_lowercase, string.ascii_uppercase


def contracted(
    func: Any,
    operands: Sequence[Tensor],
    inputs: Sequence[str],
    output: str,
    call: Callable[..., Tensor],
    spreads: str = "",
) -> Tensor:
    """A function that is linear in each operand, by the letters of their dimensions.

    Args:
        func: what to name in an error.
        operands: at least one of them `Rows`. What every rank has is entered here.
        inputs: a letter for each dimension of each operand; equal ones are multiplied with each other.
        output: the letters of the result; those that are missing are summed over.
        call: the function, on local operands.
        spreads: letters along which one entry stands for all.

    Returns:
        `Rows` if the rows' letter is in ``output``, else what every rank has.
    """
    with functions_off():
        operands = _with_one_letter(operands, inputs)
        of_rows = {names[x._dim] for x, names in zip(operands, inputs, strict=True) if isinstance(x, Rows)}
        if any(names.count(letter) > 1 for letter in of_rows for names in inputs):
            refuse(func, "would pair every row with every other one")
        if any(x.dtype == torch.bool for x in operands):
            refuse(func, "of true and false")  # torch raises an error, but where there are no rows
        (letter,) = of_rows
        if letter in spreads and _spreads_one_row(operands, inputs, letter):
            refuse(func, "would repeat the only row for other rows")
        space = one_space(func, operands)
        operands, _ = entered(tuple(operands), {})
        cut = [_cut(func, x, names, letter, space, spreads) for x, names in zip(operands, inputs, strict=True)]
        result = call(*cut)
        if letter in output:
            return rows(result, space, output.index(letter))
        return sum_over_ranks(result, space.view)


def _with_one_letter(operands: Sequence[Tensor], inputs: Sequence[str]) -> Sequence[Tensor]:
    """The operands, of which only those of the most rows stay `Rows` where they have two letters: a result of pairs.

    The others are gathered: the memory of their rows on every rank.
    """
    both = [*zip(operands, inputs, strict=True)]
    num_rows = {names[x._dim]: x._space.num_rows for x, names in both if isinstance(x, Rows)}
    if len(num_rows) < 2:
        return operands
    kept = max(num_rows, key=lambda letter: num_rows[letter])
    return [gather(x) if isinstance(x, Rows) and names[x._dim] != kept else x for x, names in both]


def _spreads_one_row(operands: Sequence[Tensor], inputs: Sequence[str], letter: str) -> bool:
    """Whether torch would take the one row of some `Rows` for each of many."""
    found = {sizes(x)[names.index(letter)] for x, names in zip(operands, inputs, strict=True) if letter in names}
    return len(found) > 1 and any(isinstance(x, Rows) and x._space.num_rows == 1 for x in operands)


def _cut(func: Any, x: Tensor, names: str, letter: str, space: Space, spreads: str) -> Tensor:
    """This rank's share of an operand, as a plain tensor."""
    if isinstance(x, Rows):
        return local(moved(x, space))
    if x.layout is not torch.strided:
        refuse(func, "with a sparse tensor that every rank has")
    if letter not in names:
        return x
    dim = names.index(letter)
    return spread(func, x, space, x.dim() - dim) if letter in spreads else at_rows(func, x, space, dim)


# Products of two. Of the numbers of their dimensions follow the letters: of both, of the result, and those that spread.


def _of_matrices(a: int, b: int) -> tuple[str, str, str, str]:
    """As ``torch.matmul``: the batch spreads."""
    batch = _LOWER[: max(a, b, 2) - 2]
    rows_of_a, columns_of_b = "X" * (a > 1), "Y" * (b > 1)
    left = batch[len(batch) - max(a - 2, 0) :] + rows_of_a + "K"
    right = batch[len(batch) - max(b - 2, 0) :] + "K" + columns_of_b
    return left, right, batch + rows_of_a + columns_of_b, batch


def _of_pairs(a: int, b: int) -> tuple[str, str, str, str]:
    return _LOWER[:a], _UPPER[:b], _LOWER[:a] + _UPPER[:b], ""


def _of_last(a: int, b: int) -> tuple[str, str, str, str]:
    summed = "k" if a and b else ""
    left, right = _UPPER[: a - len(summed)], _UPPER[13:][: b - len(summed)]
    return left + summed, right + summed, left + right, ""


_PRODUCTS: dict[str, tuple[Callable[..., Tensor], Callable[[int, int], tuple[str, str, str, str]]]] = {
    **dict.fromkeys(["matmul", "__matmul__", "linalg_matmul"], (torch.matmul, _of_matrices)),
    "mm": (torch.mm, _of_matrices),
    "bmm": (torch.bmm, _of_matrices),
    "mv": (torch.mv, _of_matrices),
    "dot": (torch.dot, _of_matrices),
    "vdot": (torch.vdot, _of_matrices),
    "outer": (torch.outer, _of_pairs),
    "ger": (torch.outer, _of_pairs),
    "inner": (torch.inner, _of_last),
}


@called(" ".join(_PRODUCTS), enters=False)
def _product(func: Any, input: Tensor, *other: Tensor, **named: Tensor) -> Tensor:
    a, b = input, *other, *named.values()
    product, letters = _PRODUCTS[name_of(func)]
    left, right, output, spreads = letters(a.dim(), b.dim())
    return contracted(func, [a, b], [left, right], output, product, spreads)


@composite("linalg_vecdot")
def _vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    torch.linalg.vecdot(x.new_zeros(1), y.new_zeros(1))  # says which dtypes it does not take
    both = x.conj() * y
    return both.sum(dim, dtype=both.dtype)


@composite("tensordot")
def _tensordot(a: Tensor, b: Tensor, of_a: list[int], of_b: list[int]) -> Tensor:
    left, right = list(_LOWER[: a.dim()]), list(_UPPER[: b.dim()])
    for i, j in zip(of_a, of_b, strict=True):
        right[dimension(j, b.dim())] = left[dimension(i, a.dim())]
    output = "".join([c for c in left if c not in right] + [c for c in right if c not in left])
    inputs = ["".join(left), "".join(right)]
    return contracted("tensordot", [a, b], inputs, output, lambda *cut: torch.tensordot(*cut, (of_a, of_b)), inputs[0])  # pyright: ignore[reportArgumentType, reportCallIssue]


@composite("einsum")
def _einsum(equation: str, *operands: Any) -> Tensor:
    tensors = list(operands[0]) if len(operands) == 1 and not isinstance(operands[0], Tensor) else list(operands)
    if not isinstance(equation, str):
        raise TypeError(f"einsum() takes an equation first, not: {type(equation).__name__}")
    for x in tensors:
        if not isinstance(x, Tensor):
            raise TypeError(f"einsum() takes tensors, not: {type(x).__name__}")
    inputs, output = _subscripts(equation, [x.dim() for x in tensors])

    def call(*cut: Tensor) -> Tensor:
        return torch.einsum(equation, *cut)

    if len(inputs) != len(tensors) or any(len(i) != x.dim() for i, x in zip(inputs, tensors, strict=True)):
        return call(*map(local, tensors))  # raises torch's own error
    return contracted("einsum", tensors, inputs, output, call, string.ascii_letters)


def _subscripts(equation: str, num_dims: list[int]) -> tuple[list[str], str]:
    """The letters of each operand and of the result, with letters in place of dots."""
    given, arrow, output = equation.replace(" ", "").partition("->")
    inputs = given.split(",")
    unused = "".join(letter for letter in string.ascii_letters if letter not in equation)
    hidden = [n - len(i) + 3 if "..." in i else 0 for i, n in zip(inputs, num_dims, strict=False)]
    batch = unused[: max(hidden, default=0)]
    named = "".join(inputs).replace(".", "")
    if not arrow:
        output = "..." + "".join(sorted(letter for letter in set(named) if named.count(letter) == 1))
    full = [i.replace("...", batch[len(batch) - n :]) for i, n in zip(inputs, hidden, strict=False)]
    return full, output.replace("...", batch)


# Products to which something is added: once, after the sum over ranks.


@composite("linear")
def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    with functions_off():
        if _is_by_row(input, weight, bias):
            space = input._space  # pyright: ignore[reportAttributeAccessIssue]
            weight, *of_bias = entered_values([weight] if bias is None else [weight, bias], space.view)
            bias = of_bias[0] if of_bias else None
            recipes = space.view.recipes
            out = engine_linear(local(input), weight, bias, recipes=recipes)
            if recipes is not None:
                if not is_differentiable_again(out):
                    only_once(out, "linear")
                elif recipes.knows(input):
                    recipes.spare(out)
            return rows(out, space, input._dim)  # pyright: ignore[reportAttributeAccessIssue]
    if weight.dim() == 1 and bias is not None:
        raise RuntimeError("linear() with a bias takes a matrix as its weight, not: a vector")
    product = torch.matmul(input, weight.t())
    return product if bias is None else product + bias


def _is_by_row(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether each row is multiplied by the same weight, as in a layer."""
    if not isinstance(x, Rows) or isinstance(weight, Rows) or x._dim == x.dim() - 1:
        return False
    return bias is None or (bias.dim() < 2 and not isinstance(bias, Rows))


@composite("bilinear")
def _bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if input1.shape[:-1] != input2.shape[:-1] or weight.dim() != 3:
        raise RuntimeError(f"bilinear(): sizes do not match: {input1.shape}, {input2.shape}, {weight.shape}")
    product = torch.einsum("...i,oij,...j->...o", input1, weight, input2)
    return product if bias is None else product + bias


def _register_sum(name: str, product: Callable[[Tensor, Tensor], Tensor]) -> None:
    @composite(name)
    def added(input: Tensor, *factors: Any, beta: float = 1, alpha: float = 1, **named: Any) -> Tensor:
        both = [*factors, *(named[each] for each in sorted(named))]  # the first comes first in the alphabet too
        if len(both) != 2 or not all(isinstance(x, Tensor) for x in [input, *both]):
            refuse(name, "with numbers between its tensors")
        of_both = product(*both)
        scaled = of_both if alpha == 1 else of_both * alpha
        total = (
            scaled if beta == 0 else (input if beta == 1 else input * beta) + scaled
        )  # of 0 without input, be it NaN
        if total.shape != of_both.shape:
            raise RuntimeError(
                f"cannot add what is larger than the product, {list(of_both.shape)}: {list(input.shape)}"
            )
        return total


for _name, _func in {
    "addmm": torch.mm,
    "addmv": torch.mv,
    "baddbmm": torch.bmm,
    "addbmm": lambda batch1, batch2: torch.einsum("bij,bjk->ik", batch1, batch2),
    "addr": torch.outer,
}.items():
    _register_sum(_name, _func)


# Others.


@called("cross linalg_cross")
def _cross(func: Any, input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    if dim is None and func in (torch.cross, Tensor.cross):
        if 3 not in sizes(input):
            raise RuntimeError("no dimension of size 3 in input")
        dim = sizes(input).index(3)
    (input, other), _, space, right = broadcast(func, (input, other), {})
    num_dims = max(input.dim(), other.dim())
    dim = dimension(-1 if dim is None else dim, num_dims)
    if dim == num_dims - right:
        refuse(func, "along rows")
    return wrapped(torch.linalg.cross(input, other, dim=dim), space, -right)
