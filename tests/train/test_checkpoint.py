from dataclasses import fields, replace

import pytest
import torch

from fullgraph.errors import GraphMismatch, InputError
from fullgraph.train import checkpoint as checkpoints
from fullgraph.train import files
from fullgraph.train.checkpoint import Checkpoint
from fullgraph.train.config import TrainConfig


@pytest.fixture
def checkpoint() -> Checkpoint:
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return Checkpoint(
        config=TrainConfig(hidden=8),
        graph_checksum="0123456789abcdef",
        num_features=3,
        num_classes=2,
        edge_dim=None,
        epoch=4,
        model=model.state_dict(),
        optimizer=optimizer.state_dict(),
        scheduler=torch.optim.lr_scheduler.ConstantLR(optimizer).state_dict(),
        randomness=torch.get_rng_state(),
        best={"epoch": 3, "val_accuracy": 0.5},
        best_model=model.state_dict(),
    )


def test_round_trip(checkpoint, tmp_path):
    checkpoints.save(checkpoint, tmp_path)
    back = checkpoints.load(tmp_path)
    for each in fields(Checkpoint):
        before, after = getattr(checkpoint, each.name), getattr(back, each.name)
        if each.name in ("model", "randomness"):
            torch.testing.assert_close(after, before, rtol=0, atol=0)
        assert str(after) == str(before), each.name


@pytest.mark.parametrize("kept", [0, 1, 100, -1000, -1])
def test_a_truncated_checkpoint_is_one_clear_error(checkpoint, tmp_path, kept):
    checkpoints.save(checkpoint, tmp_path)
    path = tmp_path / files.CHECKPOINT
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError) as caught:
        checkpoints.load(tmp_path)
    assert str(caught.value) == (
        "the checkpoint is truncated or damaged and cannot be read; restore a copy of it, "
        f"or train again with a new --run folder: {path}"
    )


def test_a_missing_checkpoint_and_one_of_another_version_are_refused(tmp_path):
    with pytest.raises(InputError) as caught:
        checkpoints.load(tmp_path)
    assert str(caught.value) == (
        f"the run folder has no checkpoint; give a run that wrote one, or train without --resume: {tmp_path}"
    )
    torch.save({"version": 99}, tmp_path / files.CHECKPOINT)
    with pytest.raises(InputError, match=r"^the checkpoint is not of version 2, the one that this fullgraph reads: "):
        checkpoints.load(tmp_path)


def test_another_graph_is_refused(checkpoint, tmp_path):
    checkpoints.refuse_another_graph(checkpoint, checkpoint.graph_checksum, tmp_path)
    other = replace(checkpoint, graph_checksum="fedcba9876543210")
    with pytest.raises(GraphMismatch) as caught:
        checkpoints.refuse_another_graph(other, checkpoint.graph_checksum, tmp_path)
    assert str(caught.value) == (
        "the run was begun on another graph (checksum fedcba987654, this one has 0123456789ab); "
        f"give the graph of the run, or start a new run with its own --run folder: {tmp_path}"
    )
