"""No third outcome: every overridable function of torch, with many patterns of arguments, is on `Rows` what it is on
whole tensors or is refused.

``python -m tests.rows.differential [--ranks R] [--share k/n] [function …]`` prints how many calls had which outcome,
and all faults. What is compared: values, shapes, dtypes, gradients, second ones, what was changed in place, and which
of the arguments share memory with the result. Ranks are simulated (`tests.rows.simulated`), so that one that leaves out
a collective is a fault like any other.
"""

import argparse
import sys
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fullgraph.comm import World
from fullgraph.config import EngineConfig
from fullgraph.errors import UnsupportedOperation
from fullgraph.rows import Space, View
from fullgraph.rows.calls import name_of
from tests.rows.calling import ERROR, PART, REFUSED, TORCHS, Called, Gradients, Place, bound, call
from tests.rows.functions import (
    ANY_ALIAS,
    DRAWS,
    NOT_COMPARED,
    OF_MEMORY,
    TORCH_IS_WRONG,
    ZERO_FOR_NONE,
    overridable,
)
from tests.rows.operands import M, N
from tests.rows.patterns import patterns_of
from tests.rows.simulated import Diverged, Meeting, meeting
from tests.rows.spaces import node_space

EQUAL = "equal"
COPY = "equal, but a copy"  # where torch has a view: to write into it is refused
FAILS = "error in both"
SOME = "error in both, on some ranks"  # those without rows do not find everything out
TYPES = "of wrong types"
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.04, torch.float16: 0.01, torch.complex64: 1e-4}


@dataclass(frozen=True)
class Fault:
    """A call whose outcome is neither that of one process nor a refusal."""

    kind: str
    function: str
    pattern: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind:9} {self.function}({self.pattern}): {self.what}"


@dataclass
class Report:
    """Outcomes by kind, and the faults."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)

    def add(self, outcome: Fault | str) -> None:
        """Count an outcome."""
        self.counts[outcome if isinstance(outcome, str) else outcome.kind] += 1
        if isinstance(outcome, Fault):
            self.faults.append(outcome)

    def __str__(self) -> str:
        counts = "\n".join(f"{number:7} {kind}" for kind, number in self.counts.most_common())
        return "\n".join([*map(str, self.faults), counts])


def run(names: list[str], num_ranks: int, *, verbose: bool = False) -> Report:
    """All patterns of the functions of these full names on some ranks."""
    report, functions = Report(), overridable()
    with warnings.catch_warnings(), nullcontext() if num_ranks == 1 else meeting(num_ranks) as ranks:
        warnings.simplefilter("ignore")
        for name in names:
            if verbose:
                sys.stderr.write(f"{name}\n")
            short = name_of(functions[name])
            patterns = [each for each in patterns_of(short) if f"{short}({each})" not in TORCH_IS_WRONG]
            of_function = compare_function(name, functions[name], ranks, patterns)
            report.counts += of_function.counts
            report.faults += of_function.faults
    return report


def compare_function(name: str, function: Any, ranks: Meeting | None, waiting: list[str]) -> Report:
    """Batches of patterns; after one that ranks diverge in, those that follow run in a new one."""
    report = Report()
    while waiting:
        batch, done, diverged = _Batch(name, function, waiting, ranks), len(waiting), None
        try:
            batch.run(World()) if ranks is None else ranks.run(batch.run)
        except Diverged as error:
            assert ranks is not None
            done = min(ranks.steps)
            diverged = batch.divergence(done, str(error))
        for outcome in (*batch.outcomes(done), *([] if diverged is None else [diverged])):
            report.add(outcome)
        waiting = waiting[done:] if diverged is None else waiting[done + 1 :]
    return report


class _Batch:
    """Patterns of one function, and what each rank does with them."""

    def __init__(self, name: str, function: Any, patterns: list[str], ranks: Meeting | None):
        self.name, self.function, self.patterns, self.ranks = name, function, patterns, ranks
        self.short = name_of(function)
        self.expected: list[Called] = []
        self.got: list[list[Called]] = [[] for _ in range(1 if ranks is None else ranks.num_ranks)]

    def run(self, world: World) -> None:
        """What one rank does. The first to come to a pattern says what one process does."""
        spaces = _spaces(world)
        for step, pattern in enumerate(self.patterns):
            if self.ranks is not None:
                self.ranks.begin(world.rank, step)
            if step == len(self.expected):
                self.expected.append(self._one_process(pattern))
            expected = self.expected[step]
            wrong = isinstance(expected.error, TypeError | AttributeError)
            self.got[world.rank].append(expected if wrong else call(self.function, pattern, bound(spaces)))

    def _one_process(self, pattern: str) -> Called:
        whole = call(self.function, pattern, bound(None))
        if whole.error is None and self.short in DRAWS and self.ranks is not None:
            return call(self.function, pattern, bound(_spaces(World())))
        return whole

    def divergence(self, step: int, why: str) -> Fault | str:
        """That ranks did not go on together from a step: no fault if those that did had torch's own error."""
        went_on = [each[step].error for each in self.got if len(each) > step]
        if self.expected[step].error is not None and went_on and all(went_on):
            return SOME
        errors = f"; those that went on: {went_on}; whole tensors: {self.expected[step].kind}"
        return Fault("hang", self.name, self.patterns[step], why + errors)

    def outcomes(self, number: int) -> Iterator[Fault | str]:
        """Those of the first ``number`` patterns."""
        shapes_only = self.short in NOT_COMPARED or (self.short in DRAWS and self.ranks is None)
        for pattern, expected, *got in zip(self.patterns[:number], self.expected, *self.got, strict=False):
            kinds = [each.kind for each in got]
            if isinstance(expected.error, TypeError | AttributeError):
                yield TYPES  # torch's parser says so before any handler is asked
            elif len(set(kinds)) > 1 and self.short not in OF_MEMORY:
                some = expected.error is not None and {ERROR, REFUSED} & set(kinds)
                what = f"{kinds}, {[each.error for each in got]}; whole tensors: {expected.kind}"
                yield SOME if some else Fault("disagree", self.name, pattern, what)
            else:
                found = [outcome_of(self.short, expected, each, shapes_only=shapes_only) for each in got]
                outcome = next((each for each in found if isinstance(each, tuple)), found[0])
                yield Fault(outcome[0], self.name, pattern, outcome[1]) if isinstance(outcome, tuple) else outcome


def _spaces(world: World) -> dict[str, Space]:
    view = View(world=world, config=EngineConfig())
    return {
        "node": node_space(world, N, "node", 1, view),
        "other": node_space(world, N, "other", 2, view),
        "fewer": node_space(world, M, "fewer", 3, view),
    }


def outcome_of(name: str, expected: Called, got: Called, *, shapes_only: bool) -> str | tuple[str, str]:
    """How a call on rows compares with one on whole tensors: a word, or the kind of a fault and what it is."""
    if isinstance(got.error, UnsupportedOperation):
        return REFUSED if expected.error is None else FAILS
    if got.error is not None:
        if expected.error is not None and isinstance(got.error, (*TORCHS, AttributeError, type(expected.error))):
            return FAILS
        return "crashed", f"{got.error!r} at {got.where}"
    if "Autograd not support dtype" in str(expected.error):
        return FAILS  # which torch says of a sum of floats as integers, and only if they need gradients
    if expected.error is not None:
        return "accepts", f"{got.kind} where whole tensors raise {expected.error!r}"
    if name in OF_MEMORY:
        return EQUAL
    if got.kinds != expected.kinds:
        return "different", f"{'; '.join(got.kinds)}, not {'; '.join(expected.kinds)}"
    if got.held != expected.held:
        return "different", f"arguments are left as {got.held}, not as {expected.held}"
    found = "" if shapes_only else _values_or_gradients_differ(expected, got, is_zero_for_none=name in ZERO_FOR_NONE)
    if found:
        return "different", found
    pairs = [pair for pair in zip(expected.shared, got.shared, strict=True) if "*" not in pair and pair[0] != pair[1]]
    if not pairs or name in ANY_ALIAS:
        return EQUAL
    if all(pair[1] == PART for pair in pairs):
        return COPY
    return "alias", f"results share memory with {got.shared}, not {expected.shared}"


def _values_or_gradients_differ(expected: Called, got: Called, *, is_zero_for_none: bool) -> str:
    tolerance = max(_TOLERANCE.get(dtype, 1e-9) for dtype in (torch.float64, *expected.dtypes))
    found = [_part_differs(*each, tolerance) for each in zip(expected.parts, got.parts, got.positions, strict=True)]
    if not any(found) and "nan" not in expected.held:  # torch's kernels have other ones for the last few entries of NaN
        found += [
            _gradients_differ(
                "gradient", expected.grads[0], got.grads[0], got.places, tolerance, is_zero_for_none=is_zero_for_none
            )
        ]
        if not any(found):
            found += [
                _gradients_differ(
                    "second gradient",
                    expected.grads[1],
                    got.grads[1],
                    got.places,
                    tolerance,
                    is_zero_for_none=is_zero_for_none,
                )
            ]
    return "; ".join(filter(None, found))


def _part_differs(one: Any, other: Any, place: Place | None, tolerance: float) -> str:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return _values_differ(_own(one, place), other, tolerance)
    if isinstance(one, int | float | str | bool | complex | torch.Size | torch.dtype | torch.device) or one is None:
        same = one == other or (one != one and other != other) or (isinstance(one, float) and abs(one - other) < 1e-9)
        return "" if same else f"{other!r}, not {one!r}"
    return ""


def _own(x: Tensor, place: Place | None) -> Tensor:
    """This rank's rows."""
    return x if place is None else x.index_select(place[1], place[0].positions)


def _values_differ(one: Tensor, other: Tensor, tolerance: float) -> str:
    if one.layout != torch.strided or one.is_quantized:
        return ""
    one, other = one.resolve_conj().resolve_neg(), other.as_subclass(Tensor).resolve_conj().resolve_neg()
    if torch.allclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=True):
        return ""
    return f"values {_short(other)}, not {_short(one)}"


def _short(x: Tensor) -> str:
    return str([f"{v:.4g}" if isinstance(v, float) else str(v) for v in x.reshape(-1)[:6].tolist()])


def _gradients_differ(
    what: str,
    ones: Gradients,
    others: Gradients,
    places: dict[str, Place | None],
    tolerance: float,
    *,
    is_zero_for_none: bool,
) -> str:
    if "" in ones:
        return ""  # torch has none
    if "" in others:
        return "" if isinstance(others[""], UnsupportedOperation) else f"{what}: {others['']!r}"
    found = []
    for name, one in ones.items():
        other = others.get(name)
        if isinstance(one, Tensor) and isinstance(other, Tensor):
            one = _own(one, places[name])
            if what != "gradient":
                one = torch.where(one.isnan(), other, one)  # of a root at zero torch's own are NaN where 0 is as good
            differs = _values_differ(one, other, tolerance)
            found += [f"{what} of {name}: {differs}"] if differs else []
        elif (one is None) != (other is None) and what == "gradient" and not is_zero_for_none:
            found.append(f"{what} of {name} is {'None' if other is None else 'not None'}")
        elif any(isinstance(each, Tensor) and each.any() for each in (one, other)):
            found.append(f"{what} of {name} is {'None' if other is None else 'not zero'}")
    return "; ".join(found)


def share(number: int, of: int, seed: int = 0) -> list[str]:
    """The functions of one of ``of`` shares, by a hash of their names."""
    return [name for name in overridable() if zlib.crc32(f"{seed}{name}".encode()) % of == number]


def main() -> None:
    """Run by hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("functions", nargs="*", help="full names, or last parts of names")
    parser.add_argument("--ranks", type=int, default=3)
    parser.add_argument("--share", default="0/1")
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    number, of = map(int, given.share.split("/"))
    names = share(number, of)
    if given.functions:
        names = [n for n in names if {n, n.removesuffix(".__get__").rsplit(".", 1)[-1]} & {*given.functions}]
    print(run(names, given.ranks, verbose=given.verbose))


if __name__ == "__main__":
    main()
