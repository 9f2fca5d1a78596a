"""The ops over blocks as their twins in plain torch, under the same names."""

from typing import Any

from fullgraph import ops


def __getattr__(name: str) -> Any:
    return getattr(ops, name).__wrapped__
