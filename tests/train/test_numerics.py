"""Numbers that are not finite: where they came from is said, and a run stops, skips or goes back as it was told."""

import re
from pathlib import Path

import pytest
import torch

from fullgraph.comm import World
from fullgraph.errors import NotFinite
from fullgraph.train import TrainConfig, checkpoint, train
from fullgraph.train.metrics import Watcher, read_metrics
from tests.ranks import run_ranks
from tests.train.graphs import write_graph

CONFIG = {"hidden": 8, "epochs": 8, "norm": "batch", "dropout": 0.5, "checkpoint_every": 2, "model": "gcn"}


class Notes(Watcher):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def _train(world: World, graph: Path, run: Path, policy: str, where: str, calls: tuple[int, ...]):
    """As a rank. In the given training passes the output of the last rank becomes NaN, in forward or in backward."""
    count = 0

    def spoil(module, inputs, output):
        nonlocal count
        if type(module).__name__ != "GCNConv" or not module.training or module.out_channels != 3:
            return
        count += 1
        if count in calls and world.rank == world.num_ranks - 1:
            if where == "forward":
                with torch._C.DisableTorchFunctionSubclass():
                    output.detach().as_subclass(torch.Tensor).fill_(torch.nan)
            else:
                output.register_hook(lambda gradient: gradient * torch.nan)

    hook = torch.nn.modules.module.register_module_forward_hook(spoil)
    notes = Notes()
    try:
        train(graph, run, TrainConfig(**CONFIG, on_nonfinite=policy), world, watchers=[notes])
    except NotFinite as error:
        return str(error), notes.texts
    finally:
        hook.remove()
    return None, notes.texts


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> Path:
    return write_graph(tmp_path_factory.mktemp("graph") / "small.fg", num_parts=2)


@pytest.mark.timeout(120)
def test_the_layer_and_the_rank_are_named_and_the_checkpoint_stays(graph, tmp_path):
    (said, _), (other, _) = run_ranks(2, _train, graph, tmp_path / "run", "stop", "forward", (6, 7))
    assert (
        said
        == other
        == (
            "the loss, nan, is not finite in epoch 6, so the model was not changed; try a smaller --lr, or look at the "
            "features' scale; the first output that is not finite is that of layer convs.1 (GCNConv), on rank 1"
        )
    )
    assert checkpoint.load(tmp_path / "run")[0].epoch == 4
    assert len(read_metrics(tmp_path / "run")) == 5


@pytest.mark.timeout(120)
def test_a_gradient_is_named_before_it_changes_the_model(graph, tmp_path):
    (said, _), _ = run_ranks(2, _train, graph, tmp_path / "run", "stop", "backward", (6,))
    assert re.fullmatch(
        r"a gradient is not finite in epoch 6, so the model was not changed; try a smaller --lr, or look at the "
        r"features' scale; it is that of convs\.\d\.\S+",
        said,
    )


@pytest.mark.timeout(120)
def test_a_skipped_epoch_leaves_the_model_as_it_was(graph, tmp_path):
    (said, notes), _ = run_ranks(2, _train, graph, tmp_path / "run", "skip", "forward", (6, 7))
    assert said is None
    assert [line["epoch"] for line in read_metrics(tmp_path / "run")] == [1, 2, 3, 4, 5, 7, 8]
    assert len(notes) == 1
    assert notes[0].endswith("; skip: going on after epoch 6")


@pytest.mark.timeout(120)
def test_a_run_goes_back_to_its_checkpoint_with_half_the_rate(graph, tmp_path):
    (said, notes), _ = run_ranks(2, _train, graph, tmp_path / "run", "rewind", "forward", (6, 7, 9, 10))
    assert said is None
    assert [each.rpartition(";")[2] for each in notes] == [" rewind: going on after epoch 4"] * 2
    lines = read_metrics(tmp_path / "run")
    assert [line["epoch"] for line in lines] == list(range(1, 9))
    assert [line["lr"] for line in lines] == [0.01] * 4 + [0.0025] * 4


@pytest.mark.timeout(120)
def test_going_back_and_skipping_have_an_end(graph, tmp_path):
    always = tuple(range(1, 200))
    (said, notes), _ = run_ranks(2, _train, graph, tmp_path / "back", "rewind", "forward", always)
    assert said.endswith("; going back 3 times did not help, to epoch: 0")
    assert len(notes) == 3
    (said, notes), _ = run_ranks(2, _train, graph, tmp_path / "skip", "skip", "backward", always)
    assert said.startswith("a gradient is not finite in epoch 8, ")
    assert len(notes) == 7
