"""What runs again in backward runs as it ran in forward: from the same random state, and in the same autocast.

Backward is called when forward's contexts have been left, and a message that came out in another dtype, or from other
draws, would have the gradients of another function.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

_DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Replay:
    """The state that forward runs in.

    Attributes:
        draws: of torch's generator of the CPU, from which rows' draws are keyed (`engine.nodewise.draws`).
        autocast: for the CPU and for GPUs, the dtype of autocast; None where it is off.
    """

    draws: Tensor
    autocast: tuple[torch.dtype | None, ...]

    @classmethod
    def of_now(cls) -> Self:
        """The state at this moment."""
        return cls(torch.get_rng_state(), _autocast())

    @contextmanager
    def again(self) -> Iterator[None]:
        """Run from the same state on; afterwards, go on as before."""
        before = torch.get_rng_state()
        torch.set_rng_state(self.draws)
        try:
            with self.casting():
                yield
        finally:
            torch.set_rng_state(before)

    @contextmanager
    def casting(self) -> Iterator[None]:
        """In the same autocast, which keeps no casts: those of forward have no gradient, and backward asks for it."""
        if self.autocast == _autocast() and not any(self.autocast):
            yield
            return
        with ExitStack() as stack:
            for device, dtype in zip(_DEVICES, self.autocast, strict=True):
                casts = torch.autocast(device, dtype=dtype, enabled=dtype is not None, cache_enabled=False)
                stack.enter_context(casts)
            yield


def _autocast() -> tuple[torch.dtype | None, ...]:
    return tuple(torch.get_autocast_dtype(d) if torch.is_autocast_enabled(d) else None for d in _DEVICES)
