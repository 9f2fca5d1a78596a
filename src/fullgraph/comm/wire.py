"""How rows are written on the wire: whole, or in fewer bytes at the price of digits.

Only float32 rows of at least `LEAST_COLUMNS` numbers are narrowed. Shorter ones are norms, scores and sums per head,
which decide what the long ones count for; and there is little to gain.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

LEAST_COLUMNS = 16
"""Rows with fewer numbers travel whole."""


class Wire(ABC):
    """One way to write rows. `decode` of `encode` gives back the rows, or something close to them."""

    @abstractmethod
    def encode(self, rows: Tensor) -> tuple[Tensor, ...]:
        """What is sent for ``rows`` ``[n, …]``: contiguous tensors with a row each."""

    @abstractmethod
    def buffers(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Where the message for rows like these arrives: shapes and dtypes as `encode` makes them."""

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


WIRES: Mapping[str, Wire] = {"float32": Whole(), "bfloat16": Bfloat16(), "int8": Int8()}


def wire_for(rows: Tensor, wire_dtype: str) -> Wire:
    """How rows like these travel; the same on all ranks, because their shape and dtype are."""
    is_narrowed = rows.dtype == torch.float32 and math.prod(rows.shape[1:]) >= LEAST_COLUMNS
    return WIRES[wire_dtype if is_narrowed else "float32"]
