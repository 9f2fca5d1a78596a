"""Random programs give the same loss and the same gradients with `Rows` on several ranks as on whole tensors, or are
refused.

``python -m tests.rows.test_random_programs --count 10000`` runs many and prints those that do neither. One rank has no
rows. A program that amplifies a change of its inputs by rounding is not compared.
"""

import argparse
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from fullgraph.comm import World
from fullgraph.config import EngineConfig
from fullgraph.errors import UnsupportedOperation
from fullgraph.rows import View, distribute, gather
from tests.ranks import run_ranks
from tests.rows.random_programs import GLOBALS, Inputs, M, N, inputs, program
from tests.rows.simulated import Diverged, meeting
from tests.rows.spaces import node_space


@dataclass(frozen=True)
class Ran:
    """The loss and the gradients of a program's inputs by name, or why there are none."""

    loss: Tensor | None = None
    grads: dict[str, Tensor | None] | None = None
    refusal: str = ""
    failure: str = ""


def whole(text: str, given: Inputs, noise: float = 0.0) -> Ran:
    """A program on whole tensors, each changed a little."""
    g = torch.Generator().manual_seed(3)
    scope = dict(given.tensors)
    for name in given.leaves:
        x = given.tensors[name]
        scope[name] = (x * (1 + noise * torch.randn(x.shape, generator=g, dtype=x.dtype))).requires_grad_()
    return _run(text, scope, given.leaves)


def of_rows(world: World, text: str, given: Inputs) -> Ran:
    """A program on this rank's rows."""
    view = View(world=world, config=EngineConfig())
    sizes = {"node": (N, 1), "other": (N, 2), "fewer": (M, 3)}
    spaces = {name: node_space(world, rows, name, seed, view) for name, (rows, seed) in sizes.items()}
    scope: dict[str, Tensor] = {}
    for name, x in given.tensors.items():
        own = x.clone()
        scope[name] = distribute(own, spaces[given.spaces[name]]) if name in given.spaces else own
        if name in given.leaves:
            scope[name].requires_grad_()
    return _run(text, scope, given.leaves)


def _run(text: str, scope: dict[str, Any], leaves: list[str]) -> Ran:
    scope = {**GLOBALS, **scope}
    given = {name: scope[name] for name in leaves}
    try:
        exec(text, scope)
        scope["loss"].backward()
        grads = {name: None if x.grad is None else gather(x.grad).detach() for name, x in given.items()}
        return Ran(gather(scope["loss"]).detach(), grads)
    except UnsupportedOperation as error:
        return Ran(refusal=str(error))
    except Exception:
        return Ran(failure=traceback.format_exc(limit=-5))


def difference(one: Ran, other: Ran, tolerance: float = 1e-8) -> str:
    """Where two runs differ; empty if they do not."""
    if one.failure or other.failure or one.refusal or other.refusal:
        return one.failure + other.failure + one.refusal + other.refusal
    assert one.loss is not None
    assert other.loss is not None
    assert one.grads is not None
    assert other.grads is not None
    values = {"loss": (one.loss, other.loss), **{name: (grad, other.grads[name]) for name, grad in one.grads.items()}}
    found = []
    for name, (a, b) in values.items():
        if (a is None) != (b is None):
            found.append(f"the gradient of {name} is {'None' if b is None else 'not None'}")
        elif a is not None and b is not None and tuple(a.shape) != tuple(b.shape):
            found.append(f"{name}: {tuple(b.shape)}, not {tuple(a.shape)}")
        elif a is not None and b is not None:
            error = float((a - b).abs().max() / (1 + a.abs().max()))
            if not error < tolerance:
                found.append(f"{name} differs by {error:.1e}")
    return "; ".join(found)


def ran_by(world: World, seeds: list[int]) -> list[Ran]:
    """Programs one after another on this rank."""
    return [of_rows(world, program(seed), inputs(seed)) for seed in seeds]


def outcomes(seeds: list[int], runs: Iterable[tuple[Ran, ...]]) -> tuple[Counter[str], list[str]]:
    """How many programs were exact, refused or not compared; and those that were none of it, to read and run."""
    counts: Counter[str] = Counter()
    wrong = []
    for seed, of_ranks in zip(seeds, runs, strict=True):
        text, given = program(seed), inputs(seed)
        expected = whole(text, given)
        if any(difference(expected, whole(text, given, noise), 1e-6) for noise in (1e-11, -1e-11)):
            counts["not compared"] += 1
        elif all(ran.refusal for ran in of_ranks):
            counts["refused"] += 1
        else:
            found = [difference(expected, ran) for ran in of_ranks]
            counts["wrong" if any(found) else "exact"] += 1
            wrong += [f"seed {seed}, ranks: {found}\n{text}\n"] if any(found) else []
    return counts, wrong


def simulated(seeds: list[int], num_ranks: int) -> tuple[Counter[str], list[str]]:
    """As `outcomes`, on simulated ranks; a program that they diverge in ends a batch."""
    total: Counter[str] = Counter()
    wrong = []
    waiting = seeds
    with warnings.catch_warnings(), meeting(num_ranks) as ranks:
        warnings.simplefilter("ignore")
        while waiting:
            done, why, got = len(waiting), "", [[] for _ in range(num_ranks)]

            def run(world: World, got: Any = got, batch: list[int] = waiting) -> None:
                for step, seed in enumerate(batch):
                    ranks.begin(world.rank, step)
                    got[world.rank].append(of_rows(world, program(seed), inputs(seed)))

            try:
                ranks.run(run)
            except Diverged as error:
                done, why = min(ranks.steps), str(error)
            counts, more = outcomes(waiting[:done], list(zip(*got, strict=False))[:done])
            total += counts
            wrong += more
            if why:
                total["wrong"] += 1
                went_on = [each[done] for each in got if len(each) > done]
                wrong.append(f"seed {waiting[done]}: {why}; those that went on: {went_on}\n{program(waiting[done])}\n")
                done += 1
            waiting = waiting[done:]
    return total, wrong


def test_random_programs_are_exact_on_three_ranks_or_refused():
    counts, wrong = simulated(list(range(150)), 3)
    assert not wrong, "\n".join(wrong[:3])
    assert counts["exact"] > 120, counts


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_random_programs_are_exact_between_processes(num_ranks: int):
    seeds = list(range(1000, 1040))
    counts, wrong = outcomes(seeds, zip(*run_ranks(num_ranks, ran_by, seeds), strict=True))
    assert not wrong, "\n".join(wrong[:3])
    assert counts["exact"] > 30, counts


def main() -> None:
    """Run many by hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--ranks", type=int, default=3)
    given = parser.parse_args()
    start = time.monotonic()
    total: Counter[str] = Counter()
    for first in range(given.first, given.first + given.count, 200):
        counts, wrong = simulated(list(range(first, min(first + 200, given.first + given.count))), given.ranks)
        total += counts
        print("\n".join(wrong), f"{dict(total)} after {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
