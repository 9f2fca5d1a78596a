"""Runs the scripts of this folder on ranks, and compares with plain PyG."""

import traceback
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

import fullgraph as fg
from fullgraph.comm import World
from tests.programs.running import PLAIN, run_script

Left = dict[str, torch.Tensor]


def left_on_rank(world: World, script: str, options: dict[str, Any], dtype: torch.dtype) -> Left | str:
    """What a script leaves on this rank, all rows of it; or how it failed."""
    opened = SimpleNamespace(
        open=lambda data, *args, **kwargs: fg.open(data, world, **options, **kwargs),
        prepare=fg.prepare,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return run_script(script, opened, fg.gather)
    except Exception as error:
        return f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
    finally:
        torch.set_default_dtype(before)


def many_on_rank(world: World, scripts: list[str], options: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    return {script: left_on_rank(world, script, options, dtype) for script in scripts}


@cache
def plainly(script: str, dtype: torch.dtype) -> Left:
    """What a script leaves as plain PyG."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return run_script(script, PLAIN)
    finally:
        torch.set_default_dtype(before)


def difference(found: Left, wanted: Left) -> tuple[float, str]:
    """The largest relative difference, and where it is; infinite where names or shapes differ."""
    if found.keys() != wanted.keys():
        return float("inf"), f"left {sorted(found.keys() ^ wanted.keys())} on one side only"
    worst, where = 0.0, ""
    for name, value in wanted.items():
        other = found[name]
        if other.shape != value.shape:
            return float("inf"), f"{name}: shape {list(other.shape)} for {list(value.shape)}"
        if value.dtype.is_floating_point or value.dtype.is_complex:
            a, b = other.double(), value.double()
            if not torch.equal(a.isnan(), b.isnan()) or not torch.equal(a.isinf(), b.isinf()):
                return float("inf"), f"{name}: nan or inf differ"
            finite = b.isfinite()
            off = (a[finite] - b[finite]).abs().max() if finite.any() else torch.zeros(())
            off = float(off / b[finite].abs().max().clamp(min=1)) if finite.any() else 0.0
        else:
            off = 0.0 if torch.equal(other, value) else float("inf")
        if off > worst:
            worst, where = off, name
    return worst, where
