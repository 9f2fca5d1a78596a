"""Random choices that do not depend on which rank makes them: every draw is keyed by (draw, global id).

torch's own generators hand out numbers in order of use, so that a row's mask would change with the rank that owns it
and would have to be stored for backward. A hash of the row's original id needs neither.
"""

import math
from typing import Any

import torch
from torch import Tensor

from fullgraph import ops
from fullgraph.engine.backward.once import backward_once
from fullgraph.engine.backward.ownership import is_sole
from fullgraph.engine.disk.rows import StreamedRows

_STEP = 0x9E3779B97F4A7C15
_CALL = 0xD1B54A32D192ED03
_LARGEST = (1 << 63) - 1


def draw_key() -> int:
    """The key of the next draw for rows, ``0 <= key < 2**63``.

    torch's own generator of the CPU says it. All ranks run one program, so it is in the same state on all of them, and
    rows take one number of it for each draw, however many rows a rank has. So ``torch.manual_seed`` seeds a run, and
    whoever restores the generator's state, as ``torch.utils.checkpoint`` does, draws the same again.
    """
    return int(torch.randint(_LARGEST, ()))


def keyed_dropout(x: Tensor, p: float, key: int, row_keys: Tensor, *, overwrites: bool = False) -> Tensor:
    """Zero each element with probability ``p`` and scale the others by ``1 / (1 - p)``; no mask is stored.

    Args:
        x: float ``[n, …]``; `StreamedRows` are dropped from as they are read.
        p: ``0 <= p <= 1``.
        key: from `draw_key`.
        row_keys: int64 ``[n]``, one per row, the same wherever the row lies.
        overwrites: whether the result goes where ``x`` is, unless that is on disk.
    """
    if p == 0:
        return x
    if isinstance(x, StreamedRows):
        return x.step(lambda rows, places: keyed_dropout(rows, p, key, row_keys[places]))
    return _KeyedDropout.apply(x, p, key, row_keys, overwrites)  # pyright: ignore[reportReturnType]


def keyed_uniform(shape: tuple[int, ...], key: int, row_keys: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers from 0 to 1 (1 excluded), ``shape`` ``(n, …)``, each by the hash of (key, its row's key, its column).

    Args:
        shape: its first entry counts rows.
        key: from `draw_key`.
        row_keys: int64 ``[n]``, one per row, the same wherever the row lies.
        dtype: float64 gets 53 random bits, every other dtype 24 or what it holds.
    """
    width = math.prod(shape[1:])
    columns = torch.arange(width, device=row_keys.device)
    z = hashed(key + row_keys.view(-1, 1) * _signed(_STEP) + columns * _signed(_CALL))
    bits = _BITS.get(dtype, 24)
    return (_shift_right(z, 64 - bits).to(dtype) * 2.0**-bits).view(shape)


def keyed_normal(shape: tuple[int, ...], key: int, row_keys: Tensor, dtype: torch.dtype) -> Tensor:
    """Standard normal numbers from two of `keyed_uniform` each (Box & Muller 1958)."""
    width = math.prod(shape[1:])
    two = keyed_uniform((len(row_keys), 2, width), key, row_keys, dtype)
    return ((-2 * torch.log1p(-two[:, 0])).sqrt() * torch.cos(2 * math.pi * two[:, 1])).view(shape)


class _KeyedDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float, key: int, row_keys: Tensor, overwrites: bool) -> Tensor:
        ctx.p, ctx.key, ctx.row_keys = p, key, row_keys
        if not overwrites:
            return _drop(x, p, key, row_keys)
        ctx.mark_dirty(x)
        return x.copy_(_drop(x, p, key, row_keys)) if not x.is_contiguous() else _drop(x, p, key, row_keys, out=x)

    @staticmethod
    @backward_once
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        out = grads[0] if is_sole(grads) else None
        return _drop(grads[0], ctx.p, ctx.key, ctx.row_keys, out=out), None, None, None, None


def _drop(x: Tensor, p: float, key: int, row_keys: Tensor, out: Tensor | None = None) -> Tensor:
    """Into ``out``, contiguous and perhaps ``x`` itself, if it is given."""
    if p == 1:
        return torch.zeros_like(x) if out is None else out.zero_()
    if out is None:
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
    width = math.prod(x.shape[1:])
    ops.dropout(x.reshape(len(x), width), p, key, row_keys, out=out.view(len(x), width))
    return out


def hashed(keys: Tensor) -> Tensor:
    """Each int64 by splitmix64's finaliser (Steele 2014): distinct keys to distinct words that look like noise."""
    z = (keys ^ _shift_right(keys, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shift_right(z, 27)) * _signed(0x94D049BB133111EB)
    return z ^ _shift_right(z, 31)


_BITS = {torch.float64: 53, torch.bfloat16: 8, torch.float16: 11}


def _signed(bits: int) -> int:
    """A 64-bit word as the int64 of the same bits."""
    return bits - (1 << 64) if bits >> 63 else bits


def _shift_right(z: Tensor, bits: int) -> Tensor:
    """A logical shift of int64."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
