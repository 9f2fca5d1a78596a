"""Rows without their zeros and back: a bit per number, and the numbers that are not zero.

A number is zero if all its bits are: -0.0 and NaN are not, and come back as they were.
"""

import torch
from torch import Tensor

from fullgraph.errors import InputError
from fullgraph.ops import native, reference
from fullgraph.ops.checks import check

_WORDS = {2: torch.uint16, 4: torch.uint32, 8: torch.uint64}


def num_marks(numbers: int) -> int:
    """How many int64 have a bit for each of so many numbers."""
    return -(-numbers // 64)


def mark_nonzero(x: Tensor) -> tuple[Tensor, int]:
    """Which numbers are not zero, and how many.

    Args:
        x: any shape, of numbers of 2, 4 or 8 bytes; contiguous.

    Returns:
        int64 ``[num_marks(n)]`` for n numbers, bit i of word w for number ``64 * w + i``; and how many bits are set.

    Raises:
        InputError: if x is not contiguous or its numbers have another size.
    """
    _check_numbers("x", x)
    if not native.sums(x):
        return reference.mark_nonzero(x)
    bits = torch.empty(num_marks(x.numel()), dtype=torch.int64)
    return bits, native.core.mark_nonzero(_words(x), _words(bits), native.threads())


def pack_nonzero(x: Tensor, bits: Tensor, count: int) -> Tensor:
    """The ``count`` numbers of x that `mark_nonzero` marked, in order: ``[count]``.

    Raises:
        InputError: if the bits are not as many as x has numbers.
    """
    _check_numbers("x", x)
    check("bits", bits, [num_marks(x.numel())], torch.int64, x.device)
    if not native.sums(x):
        return reference.pack_nonzero(x, bits, count)
    values = x.new_empty(count)
    native.core.pack_nonzero(_words(x), _words(bits), _words(values), native.threads())
    return values


def unpack_nonzero(bits: Tensor, x: Tensor) -> None:
    """Put the numbers at the front of x, as many as there are marks, where the bits say, and zeros elsewhere; in place.

    Args:
        bits: as `mark_nonzero` made them.
        x: of the shape and dtype of what was marked.

    Raises:
        InputError: if the bits are not as many as x has numbers.
    """
    _check_numbers("x", x)
    check("bits", bits, [num_marks(x.numel())], torch.int64, x.device)
    if native.sums(x):
        native.core.unpack_nonzero(_words(bits), _words(x))
    else:
        reference.unpack_nonzero(bits, x)


def _check_numbers(name: str, x: Tensor) -> None:
    if x.element_size() not in _WORDS:
        raise InputError(f"{name} must have numbers of 2, 4 or 8 bytes: {x.dtype}")
    check(name, x, list(x.shape), x.dtype, x.device)


def _words(x: Tensor):
    return native.array(x.view(-1).view(_WORDS[x.element_size()]))
