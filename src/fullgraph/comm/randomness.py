"""The generators that a program draws from without naming one: torch's, Python's and NumPy's.

Ranks that run one program must draw the same from them, whether or not it seeds any: an unseeded process starts from a
state of its own.
"""

import random
from typing import Any

import numpy as np
import torch


def generators_state(device: torch.device) -> dict[str, Any]:
    """Of all generators, picklable."""
    return {
        "torch": torch.get_rng_state(),
        "random": random.getstate(),
        "numpy": np.random.get_state(),  # noqa: NPY002
        "device": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def set_generators(state: dict[str, Any], device: torch.device) -> None:
    """Go on from a state that `generators_state` gave, of this rank or of another."""
    torch.set_rng_state(state["torch"])
    random.setstate(state["random"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    if state["device"] is not None:
        torch.cuda.set_rng_state(state["device"], device)
