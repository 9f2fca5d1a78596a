"""What a layer returns may be changed in place wherever plain PyG allows it, as ``ReLU(inplace=True)`` does."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

import fullgraph as fg
from tests.equivalence.cases import GRAPHS, Case, run
from tests.equivalence.comparison import assert_same, gathered
from tests.equivalence.coverage import CASES
from tests.ranks import run_ranks


def doubled(case: Case) -> Case:
    """The same, and all that it returns is doubled in place."""

    def call(module: Any, g: Any) -> Any:
        out = case.call(module, g)
        for x in out if isinstance(out, tuple) else (out,):
            x.mul_(2)
        return out

    return replace(case, call=call)


def on_a_rank(world: fg.World, folder: str, name: str, places: list[int], mode: str) -> list[Any]:
    answers = []
    for place in places:
        case = CASES[name][place]
        data = fg.open(f"{folder}/{case.graph}.fg", world, mode=mode)
        answers.append(gathered(run(doubled(case), data, lambda module, data=data: fg.prepare(module, data))))
    return answers


@pytest.mark.filterwarnings("ignore:We do not recommend using the non-optimized CPU version:UserWarning")
@pytest.mark.parametrize("name", CASES)
def test_outputs_may_be_changed(folder, name):
    wanted = {}
    for place, case in enumerate(CASES[name]):
        with suppress(RuntimeError):  # where plain PyG needs what it returned for backward
            wanted[place] = run(doubled(case), GRAPHS[case.graph](), lambda layer: layer)
    for num_ranks, mode in ((1, "sar"), (2, "sar"), (2, "keep")):
        answers = run_ranks(num_ranks, on_a_rank, folder, name, list(wanted), mode)
        for number, place in enumerate(wanted):
            what = f"{name}, {CASES[name][place].name}, {num_ranks} ranks, {mode}"
            assert_same(what, [answer[number] for answer in answers], wanted[place])
