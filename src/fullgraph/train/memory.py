"""How much memory training adds to a rank: the number that says whether a graph fits.

On Linux the kernel keeps the highest resident size of a process and can be told to start anew; elsewhere its
all-time high is the best there is. On an accelerator torch's allocator counts.
"""

import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

_RESET_PEAK = "5"  # see proc(5), /proc/pid/clear_refs


class PeakMemory:
    """The largest memory use since this object was made, above the use at that moment.

    Attributes:
        start: bytes in use at that moment.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cpu":
            self.start = resident_bytes()
            with suppress(OSError):  # not Linux, or not allowed in this container: the peak is the all-time high
                Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
        else:
            torch.accelerator.reset_peak_memory_stats(device)
            self.start = torch.accelerator.memory_allocated(device)

    def growth(self) -> int:
        """Bytes, never negative."""
        if self._device.type == "cpu":
            return max(0, resident_bytes("VmHWM") - self.start)
        return max(0, torch.accelerator.max_memory_allocated(self._device) - self.start)


def resident_bytes(key: str = "VmRSS") -> int:
    """What the kernel says of this process under ``key``; where it says nothing, the all-time high."""
    with suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        for line in lines:
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
