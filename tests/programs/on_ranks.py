"""Runs the scripts of this folder on ranks, and compares with plain PyG.

``python -m tests.programs.on_ranks`` runs all of them on 1, 2 and 3 ranks, cut by METIS and at random, in all modes.
"""

import argparse
import itertools
import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

import fullgraph as fg
from fullgraph.comm import World
from fullgraph.config import MODES
from tests.programs.running import FOLDER, PLAIN, SCRIPTS, run_script
from tests.ranks import RankFailure, run_ranks

Left = dict[str, torch.Tensor]
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
AT_A_TIME = 8


@dataclass(frozen=True)
class Setting:
    """How scripts are run.

    Attributes:
        num_ranks: on how many ranks.
        mode: of ``fullgraph.open``.
        method: the partitioner's; None to open the graph in memory.
        dtype: torch's default one meanwhile.
    """

    num_ranks: int
    mode: str = "sar"
    method: str | None = None
    dtype: torch.dtype = torch.float64


def left_on_rank(world: World, scripts: list[str], setting: Setting, folder: str) -> dict[str, Left | str]:
    """What each script leaves on this rank, all rows of it; or how it failed."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(setting.dtype)
    try:
        return {script: _left(world, script, setting, Path(folder)) for script in scripts}
    finally:
        torch.set_default_dtype(before)


def _left(world: World, script: str, setting: Setting, folder: Path) -> Left | str:
    numbers = itertools.count()

    def opened(data: Any) -> Any:
        if setting.method is None:
            return fg.open(data, world, mode=setting.mode)
        path = folder / f"{script}-{next(numbers)}.fg"

        def cut() -> None:
            if world.rank == 0:
                fg.partition(data, path, num_parts=max(2, world.num_ranks), method=setting.method, overwrite=True)

        world.together(cut)
        return fg.open(path, world, mode=setting.mode)

    try:
        return run_script(script, SimpleNamespace(open=opened, prepare=fg.prepare), fg.gather)
    except Exception as error:
        return f"{type(error).__name__}: {error}\n{traceback.format_exc()}"


@cache
def plainly(script: str, dtype: torch.dtype) -> Left:
    """What a script leaves as plain PyG."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return run_script(script, PLAIN)
    finally:
        torch.set_default_dtype(before)


@cache
def drawn(script: str, dtype: torch.dtype) -> Left | str:
    """What a script that draws leaves on one rank."""
    return run_ranks(1, left_on_rank, [script], Setting(1, dtype=dtype), "")[0][script]


@cache
def said(script: str, name: str) -> str | None:
    """What a script says of how it is to be compared: ``draws``, ``tolerance`` or ``refused``."""
    found = re.search(rf"^{name} = (.*)$", (FOLDER / f"{script}.py").read_text(), re.MULTILINE)
    return found and found[1].strip("\"'")


def faults(scripts: list[str], setting: Setting, folder: str) -> Iterator[str]:
    """What is wrong with what scripts leave, a line each; some scripts at a time, because ranks stay for the next."""
    for first in range(0, len(scripts), AT_A_TIME):
        some = scripts[first : first + AT_A_TIME]
        try:
            answers = run_ranks(setting.num_ranks, left_on_rank, some, setting, folder, timeout=280)
        except RankFailure as failure:
            yield f"{some}: {failure}"
            continue
        for script in some:
            fault = _fault(script, setting, [answer[script] for answer in answers])
            if fault is not None:
                yield f"{script}: {fault}"


def _fault(script: str, setting: Setting, answers: list[Left | str]) -> str | None:
    refusal = said(script, "refused")
    for answer in answers:
        if refusal is not None:
            if not (isinstance(answer, str) and answer.startswith("UnsupportedOperation") and refusal in answer):
                return f"was to be refused: {refusal}"
            continue
        if isinstance(answer, str):
            return answer
        wanted = drawn(script, setting.dtype) if said(script, "draws") else plainly(script, setting.dtype)
        assert not isinstance(wanted, str), wanted
        tolerance = max(float(said(script, "tolerance") or 0), TOLERANCE[setting.dtype])
        off, where = difference(answer, wanted)
        if off > tolerance:
            return f"differs by {off:.1e}: {where}"
    return None


def difference(found: Left, wanted: Left) -> tuple[float, str]:
    """The largest difference relative to the tensor's largest number or 1, and where it is."""
    if found.keys() != wanted.keys():
        return float("inf"), f"left on one side only: {sorted(found.keys() ^ wanted.keys())}"
    return max(((_off(found[name], value), name) for name, value in wanted.items()), default=(0.0, ""))


def _off(value: torch.Tensor, wanted: torch.Tensor) -> float:
    if value.shape != wanted.shape or value.dtype != wanted.dtype:
        return float("inf")
    if not (wanted.is_floating_point() or wanted.is_complex()):
        return 0.0 if torch.equal(value, wanted) else float("inf")
    a, b = value.double(), wanted.double()
    finite = b.isfinite()
    if not torch.equal(torch.where(finite, 0, a), torch.where(finite, 0, b)) and not torch.equal(
        a.isnan() | a.isinf(), ~finite
    ):
        return float("inf")
    if not finite.any():
        return 0.0
    return float((a[finite] - b[finite]).abs().max() / b[finite].abs().max().clamp(min=1))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("scripts", nargs="*", default=SCRIPTS)
    parser.add_argument("--ranks", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--modes", nargs="*", default=list(MODES))
    parser.add_argument("--methods", nargs="*", default=["metis", "random"])
    parser.add_argument("--dtype", default="float64")
    given = parser.parse_args()
    import tempfile

    count = 0
    with tempfile.TemporaryDirectory() as folder:
        for num_ranks, mode, method in itertools.product(given.ranks, given.modes, given.methods):
            setting = Setting(num_ranks, mode, None if method == "memory" else method, getattr(torch, given.dtype))
            found = list(faults(given.scripts, setting, folder))
            count += len(found)
            print(f"{setting}: {len(given.scripts) - len(found)} of {len(given.scripts)} as plain PyG", flush=True)
            for fault in found:
                print("   ", fault if len(given.scripts) < 4 else fault.splitlines()[0][:300], flush=True)
    raise SystemExit(count > 0)


if __name__ == "__main__":
    main()
