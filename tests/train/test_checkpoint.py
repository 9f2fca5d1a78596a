"""Checkpoints: what is read is what was written, to the last bit, or is refused; the last good one stays."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from fullgraph.errors import GraphMismatch, InputError, NotFinite
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
        num_outputs=2,
        edge_dim=None,
        epoch=4,
        model=model.state_dict(),
        optimizer=optimizer.state_dict(),
        scheduler=torch.optim.lr_scheduler.ConstantLR(optimizer).state_dict(),
        randomness=torch.get_rng_state(),
        best={"epoch": 3, "val_scores": {"accuracy": 0.1 + 0.2}},
        best_model=model.state_dict(),
        code="0",
    )


@pytest.fixture
def folder(checkpoint, tmp_path):
    checkpoints.save(checkpoint, tmp_path, keep=2)
    return tmp_path / files.CHECKPOINTS


def test_round_trip(checkpoint, folder):
    back, refused = checkpoints.load(folder.parent)
    assert refused == []
    for each in fields(Checkpoint):
        before, after = getattr(checkpoint, each.name), getattr(back, each.name)
        if each.name in ("model", "best_model", "randomness"):
            before = dict(before) if isinstance(before, dict) else before
            torch.testing.assert_close(after, before, rtol=0, atol=0)
        else:
            assert repr(after) == repr(before), each.name
    assert checkpoints.config_of(folder.parent) == checkpoint.config


@pytest.mark.parametrize("seed", range(4))
def test_any_flipped_bit_and_any_truncation_is_refused(folder, seed):
    generator = np.random.default_rng(seed)
    for file in folder.iterdir():
        content = file.read_bytes()
        for _ in range(40):
            damaged = bytearray(content)
            damaged[generator.integers(len(content))] ^= 1 << generator.integers(8)
            for each in (damaged, content[: generator.integers(len(content))]):
                file.write_bytes(each)
                with pytest.raises(InputError, match=r"^no checkpoint of the run can be read; restore a copy of one, "):
                    checkpoints.load(folder.parent)
        file.write_bytes(content)
    checkpoints.load(folder.parent)


def test_the_newest_that_is_whole_is_taken_and_the_others_are_told(checkpoint, folder):
    for epoch in (5, 6):
        checkpoints.save(replace(checkpoint, epoch=epoch), folder.parent, keep=3)
    (folder / "epoch-00000006.safetensors").write_bytes(b"")
    (folder / "epoch-00000005.json").write_text("{" * 100_000)
    back, refused = checkpoints.load(folder.parent)
    assert back.epoch == 4
    assert [each.split(":")[0].split(" (")[0] for each in refused] == [
        "the checkpoint of epoch 6 has 0 bytes in place of 6040",
        "the checkpoint of epoch 5 cannot be read",
    ]


def test_the_newest_are_kept_and_those_of_a_lost_future_go(checkpoint, folder):
    for epoch in (5, 6, 7):
        checkpoints.save(replace(checkpoint, epoch=epoch), folder.parent, keep=2)
    assert checkpoints.epochs(folder.parent) == [7, 6]
    assert len(list(folder.iterdir())) == 4
    checkpoints.save(replace(checkpoint, epoch=5), folder.parent, keep=2)
    assert checkpoints.epochs(folder.parent) == [5]


@pytest.mark.parametrize("where", ["model", "optimizer"])
def test_a_model_that_is_not_finite_takes_nothing_s_place(checkpoint, folder, where):
    state = getattr(checkpoint, where)
    (state if where == "model" else state["state"][0])["weight" if where == "model" else "exp_avg"][1, 2] = torch.nan
    with pytest.raises(NotFinite) as caught:
        checkpoints.save(replace(checkpoint, epoch=9), folder.parent, keep=1)
    assert str(caught.value) == (
        "after epoch 9 a number of the model is not finite, so no checkpoint was written and the earlier ones stay; "
        "try a smaller --lr, or look at the features' scale: "
        + {"model": "model.weight", "optimizer": "optimizer.state.0.exp_avg"}[where]
    )
    assert checkpoints.epochs(folder.parent) == [4]


def test_a_missing_checkpoint_and_one_of_another_version_are_refused(checkpoint, tmp_path, monkeypatch):
    with pytest.raises(InputError) as caught:
        checkpoints.load(tmp_path)
    assert str(caught.value) == (
        f"the run folder has no checkpoint; give a run that wrote one, or train without --resume: {tmp_path}"
    )
    monkeypatch.setattr(checkpoints, "VERSION", 99)
    checkpoints.save(checkpoint, tmp_path, keep=1)
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"checkpoint of epoch 4 is not of version 4, the one that this "):
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
