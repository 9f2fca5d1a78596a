"""Every layer class that PyG exports is exact on any number of ranks, in the way that `explain` says, or refused."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import pytest
import torch
from torch_geometric.nn import conv

import fullgraph as fg
from fullgraph.pyg.explain import explained_layers
from fullgraph.pyg.general import any_layer
from fullgraph.pyg.rules import Way, aggregating, attention, hgt
from tests.equivalence.cases import GRAPHS, of_negatives, run
from tests.equivalence.comparison import assert_same, gathered
from tests.equivalence.coverage import CASES, REFUSED
from tests.equivalence.graphs import NUM_FEATURES as F_IN
from tests.equivalence.layers_page import PAGE, layers_page
from tests.ranks import run_ranks

ENTRIES = {
    Way.WALK: [
        (aggregating, "sum_neighbours"),
        (aggregating, "linear_sum"),
        (aggregating, "extremum_neighbours"),
        (attention, "attend"),
        (hgt, "attend"),
    ],
    Way.BLOCKS: [(any_layer, "aggregate_by_block")],
    Way.NEIGHBOURHOODS: [(any_layer, "run_by_neighbourhood")],
}


@contextmanager
def observed_ways() -> Iterator[set[Way]]:
    """The ways that layers take from here on, seen at the entries of the engine."""
    seen: set[Way] = set()

    def seeing(way: Way, original: Callable[..., Any]) -> Callable[..., Any]:
        def entry(*args: Any, **kwargs: Any) -> Any:
            seen.add(way)
            return original(*args, **kwargs)

        return entry

    with ExitStack() as stack:
        for way, entries in ENTRIES.items():
            for module, name in entries:
                stack.enter_context(mock.patch.object(module, name, seeing(way, getattr(module, name))))
        yield seen


RANKS = [(4,), (1, 2)]
"""On how many ranks a configuration runs, in turn: each on several, each layer on all three."""


def on_a_rank(world: fg.World, folder: str, name: str, numbers: list[int]):
    answers = []
    for case in [CASES[name][number] for number in numbers]:
        data = fg.open(f"{folder}/{case.graph}.fg", world, mode="sar", prefetch=0, round_rows=16, chunk_edges=80)
        explained: list[Any] = []

        def convert(module: torch.nn.Module, explained: list[Any] = explained, data: Any = data) -> None:
            explained += explained_layers(module, data)
            fg.prepare(module, data)

        with observed_ways() as seen:
            try:
                result = run(case, data, convert)
            except fg.errors.UnsupportedOperation as refused:
                answers.append(str(refused))
                continue
        answers.append((gathered(result), explained, seen))
    return answers


@pytest.mark.filterwarnings("ignore:We do not recommend using the non-optimized CPU version:UserWarning")
@pytest.mark.parametrize("name", CASES)
def test_layer_equals_plain_pyg(folder, in_turn, name):
    wanted = [run(case, GRAPHS[case.graph](), lambda layer: layer) for case in CASES[name]]
    for num_ranks in (1, 2, 4):
        numbers = [number for number in range(len(wanted)) if num_ranks in in_turn(number, RANKS)]
        for number, *ranks in zip(numbers, *run_ranks(num_ranks, on_a_rank, folder, name, numbers), strict=True):
            what = f"{name}, {CASES[name][number].name}, {num_ranks} ranks"
            assert not any(isinstance(answer, str) for answer in ranks), (what, ranks)
            assert_same(what, [result for result, _, _ in ranks], wanted[number])
            for _, explained, seen in ranks:
                compare_ways(what, explained, seen)


def compare_ways(what: str, explained: Any, seen: set[Way]) -> None:
    """What ran is what was said, or the other way that the reason names."""
    said = {layer.way for layer in explained}
    named = {way for way in Way for layer in explained if way.value in layer.why}
    assert seen <= said | named, (what, seen, said)
    assert seen or said == {Way.AT_ONCE}, what


def attention_loss(module: torch.nn.Module, g: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    of_negatives(module, g)
    loss = module.get_attention_loss()  # pyright: ignore[reportCallIssue]
    loss.backward()
    return loss.detach(), [p.grad for p in module.parameters() if p.grad is not None]


def attention_loss_on_a_rank(world: fg.World, folder: str):
    data = fg.open(f"{folder}/awkward.fg", world, chunk_edges=80)
    return attention_loss(fg.prepare(supergat(), data), data)


def supergat() -> torch.nn.Module:
    torch.manual_seed(3)
    return conv.SuperGATConv(F_IN, 4, heads=2).double()


def test_the_attention_loss_of_supergat(folder):
    wanted = attention_loss(supergat(), GRAPHS["awkward"]())
    for num_ranks in (1, 2, 4):
        for got in run_ranks(num_ranks, attention_loss_on_a_rank, folder):
            torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-12)


def test_no_exported_layer_is_missing():
    assert set(conv.__all__) == {"MessagePassing", *CASES, *REFUSED}
    assert not set(CASES) & set(REFUSED)
    assert all(len(cases) >= 2 for cases in CASES.values())


def test_the_page_of_layers_is_what_is_tested():
    assert PAGE.read_text() == layers_page(), "run: python -m tests.equivalence.layers_page"
