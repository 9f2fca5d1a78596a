"""How rows are written on the wire: whole, without their zeros, or in fewer bytes at the price of digits.

Only rows of at least `LEAST_COLUMNS` numbers are written in fewer bytes, and only float32 is narrowed. Shorter ones are
norms, scores and sums per head, which decide what the long ones count for; and there is little to gain.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fullgraph import ops

LEAST_COLUMNS = 16
"""Rows with fewer numbers travel whole."""

SAMPLE = 4096
"""Numbers at the start of a message that say whether it is worth looking for zeros in all of it."""


class Wire(ABC):
    """One way to write rows. `decode` of `encode` gives back the rows, or something close to them."""

    @abstractmethod
    def encode(self, rows: Tensor) -> tuple[Tensor, ...]:
        """What is sent for ``rows`` ``[n, …]``: contiguous tensors."""

    @abstractmethod
    def buffers(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Where the message for rows like these arrives: dtypes as `encode` makes them, and room for any such rows."""

    @abstractmethod
    def decode(self, message: Sequence[Tensor], rows: Tensor) -> Tensor:
        """The rows that arrived: written to ``rows``, whose shape and dtype they have, or ``rows`` itself."""


class Whole(Wire):
    """The rows themselves; they arrive in place."""

    def encode(self, rows: Tensor) -> tuple[Tensor, ...]:
        return (rows.contiguous(),)

    def buffers(self, rows: Tensor) -> tuple[Tensor, ...]:
        return (rows,)

    def decode(self, message: Sequence[Tensor], rows: Tensor) -> Tensor:
        return rows


class Bfloat16(Wire):
    """Rounded to nearest: each number keeps 8 of its 24 significant bits, so it is off by at most 2⁻⁸ of itself."""

    def encode(self, rows: Tensor) -> tuple[Tensor, ...]:
        return (rows.to(torch.bfloat16).contiguous(),)

    def buffers(self, rows: Tensor) -> tuple[Tensor, ...]:
        return (torch.empty(rows.shape, dtype=torch.bfloat16, device=rows.device),)

    def decode(self, message: Sequence[Tensor], rows: Tensor) -> Tensor:
        return rows.copy_(message[0])


class Int8(Wire):
    """A scale per row, and each number rounded at random to one of the two multiples of it next to it.

    The scale is the row's largest absolute value divided by 127. A number is off by less than its row's scale, and by
    nothing on average. The noise comes from a generator seeded with the rows: rows that are fetched a second time, in
    backward, arrive as they did the first time.
    """

    def encode(self, rows: Tensor) -> tuple[Tensor, ...]:
        flat = rows.reshape(len(rows), math.prod(rows.shape[1:]))
        scale = (flat.abs().amax(1) / 127).clamp_(min=torch.finfo(torch.float32).tiny)  # a row of zeros divides by it
        generator = torch.Generator(rows.device)
        generator.manual_seed(int(flat.contiguous().view(torch.int32).sum(dtype=torch.int64)) & (2**63 - 1))
        # Not `torch.rand`, which within a model is drawn by global ids.
        noise = torch.ops.aten.rand.generator(flat.shape, generator=generator, device=rows.device)
        codes = (flat / scale.unsqueeze(1)).add_(noise).floor_().clamp_(-127, 127).to(torch.int8)
        return codes.view(rows.shape), scale

    def buffers(self, rows: Tensor) -> tuple[Tensor, ...]:
        codes = torch.empty(rows.shape, dtype=torch.int8, device=rows.device)
        return codes, torch.empty(len(rows), dtype=torch.float32, device=rows.device)

    def decode(self, message: Sequence[Tensor], rows: Tensor) -> Tensor:
        codes, scale = message
        return rows.copy_(codes).mul_(scale.view(-1, *[1] * (rows.dim() - 1)))


_WHOLE = -1
"""In place of the count of numbers that are not zero: nothing is left out."""


class Packed(Wire):
    """Without zeros: a bit per number and the numbers that are not zero, to the last bit; or whole, if that is as good.

    The message says itself which of the two it is, and is as long as its rows need. It arrives in places for the
    longest, so the backend must take a message that is shorter than its place, as gloo does. The numbers arrive where
    the rows will be, and are moved apart there.
    """

    def __init__(self, numbers: Wire):
        """``numbers``: how the rows are written before zeros are left out, as one tensor."""
        self._numbers = numbers

    def encode(self, rows: Tensor) -> tuple[Tensor, ...]:
        (numbers,) = self._numbers.encode(rows)
        if not numbers.numel():
            return numbers.new_empty(0, dtype=torch.int64), numbers
        sample = numbers.view(-1)[:SAMPLE]
        if numbers.device.type == "cpu" and _saves(sample, ops.mark_nonzero(sample)[1]):
            bits, count = ops.mark_nonzero(numbers)
            if _saves(numbers, count):
                # One value at least: an empty tensor is not sent, and its place would wait for it.
                values = ops.pack_nonzero(numbers, bits, count) if count else numbers.new_zeros(1)
                return torch.cat([bits.new_tensor([count]), bits]), values
        return torch.tensor([_WHOLE], device=numbers.device), numbers

    def buffers(self, rows: Tensor) -> tuple[Tensor, ...]:
        (numbers,) = self._numbers.buffers(rows)
        length = 1 + ops.num_marks(numbers.numel()) if numbers.numel() else 0
        return torch.empty(length, dtype=torch.int64, device=rows.device), numbers

    def decode(self, message: Sequence[Tensor], rows: Tensor) -> Tensor:
        marks, numbers = message
        if len(marks) and marks[0] != _WHOLE:
            ops.unpack_nonzero(marks[1:], numbers)
        return self._numbers.decode((numbers,), rows)


def _saves(numbers: Tensor, count: int) -> bool:
    """Whether packing saves an eighth of so many numbers, ``count`` of which are not zero."""
    packed = 8 * (1 + ops.num_marks(numbers.numel())) + count * numbers.element_size()
    return 8 * packed <= 7 * numbers.numel() * numbers.element_size()


WIRES: Mapping[str, Wire] = {"float32": Whole(), "bfloat16": Bfloat16(), "int8": Int8()}

_PACKED_DTYPES = (torch.float32, torch.float64, torch.bfloat16)
PACKED: Mapping[str, Wire] = {name: Packed(WIRES[name]) for name in ("float32", "bfloat16")}


def wire_for(rows: Tensor, wire_dtype: str, *, packs: bool = False) -> Wire:
    """How rows like these travel; the same on all ranks, because their shape and dtype are.

    ``packs``: whether zeros may be left out, which nothing is gained by with ``int8``.
    """
    if math.prod(rows.shape[1:]) < LEAST_COLUMNS:
        return WIRES["float32"]
    name = wire_dtype if rows.dtype == torch.float32 else "float32"
    return PACKED.get(name, WIRES[name]) if packs and rows.dtype in _PACKED_DTYPES else WIRES[name]
