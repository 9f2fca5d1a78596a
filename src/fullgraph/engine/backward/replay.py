"""What runs again in backward runs as it ran in forward: from the same random states, and in the same autocast.

Backward is called when forward's contexts have been left, and a message that came out in another dtype, or from other
draws, would have the gradients of another function.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Self

import torch

from fullgraph.comm.randomness import generators_state, set_generators

DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Replay:
    """The state that forward runs in.

    Attributes:
        device: what draws are made on, beside the CPU.
        draws: of all generators; from torch's of the CPU rows' draws are keyed (`engine.nodewise.draws`).
        autocast: for the CPU and for GPUs, the dtype of autocast; None where it is off.
    """

    device: torch.device
    draws: dict[str, Any]
    autocast: tuple[torch.dtype | None, ...]

    @classmethod
    def of_now(cls, device: torch.device) -> Self:
        """The state at this moment."""
        return cls(device, generators_state(device), _autocast())

    @contextmanager
    def again(self) -> Iterator[None]:
        """Run from the same state on; afterwards, go on as before."""
        before = generators_state(self.device)
        set_generators(self.draws, self.device)
        try:
            with self.casting():
                yield
        finally:
            set_generators(before, self.device)

    @contextmanager
    def casting(self) -> Iterator[None]:
        """In the same autocast, which keeps no casts: those of forward have no gradient, and backward asks for it."""
        if self.autocast == _autocast() and not any(self.autocast):
            yield
            return
        with ExitStack() as stack:
            for device, dtype in zip(DEVICES, self.autocast, strict=True):
                casts = torch.autocast(device, dtype=dtype, enabled=dtype is not None, cache_enabled=False)
                stack.enter_context(casts)
            yield


def _autocast() -> tuple[torch.dtype | None, ...]:
    return tuple(torch.get_autocast_dtype(d) if torch.is_autocast_enabled(d) else None for d in DEVICES)
