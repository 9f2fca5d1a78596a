"""How the numbers of rows with heads are divided among programs."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import triton

from fullgraph.ops._triton.rows import in_accumulator


@dataclass(frozen=True)
class Heads:
    """Rows ``[n, num_heads, channels]``: a program takes some heads of a row, with all their channels.

    Attributes:
        bytes_at_once: of a row; a narrower slice of all rows is more likely to be in the cache, and leaves registers.
    """

    num_heads: int
    channels: int
    dtype: torch.dtype
    bytes_at_once: int = 256

    @cached_property
    def padded(self) -> int:
        """Channels, up to a power of two."""
        return triton.next_power_of_2(max(1, self.channels))

    @cached_property
    def at_once(self) -> int:
        """Heads of one program, a power of two."""
        return min(
            triton.next_power_of_2(self.num_heads), max(1, self.bytes_at_once // self.dtype.itemsize // self.padded)
        )

    @property
    def num_groups(self) -> int:
        """Programs of a row."""
        return triton.cdiv(self.num_heads, self.at_once)

    def constants(self, edges: int) -> dict[str, Any]:
        """What a kernel takes by name, which looks at so many edges at a time, or fewer where rows are wide."""
        width = self.at_once * self.padded
        edges = max(1, min(edges, edges * 128 // width))
        return {
            "heads": self.num_heads,
            "channels": self.channels,
            "EDGES": edges,
            "HEADS": self.at_once,
            "CHANNELS": self.padded,
            "ACC": in_accumulator(self.dtype),
            "num_warps": max(1, min(8, edges * width // 2048)),
        }
