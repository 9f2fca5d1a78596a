"""Predictions come out in the original node order and are those of plain PyG on the whole graph."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fullgraph.comm import World
from fullgraph.errors import GraphMismatch, InputError
from fullgraph.predict import predict
from fullgraph.pyg.models import build_model
from fullgraph.train import TrainConfig, checkpoint, train
from tests.ranks import run_ranks
from tests.train.graphs import NUM_CLASSES, NUM_FEATURES, arrays, write_graph

CONFIG = TrainConfig(
    model="gat", hidden=8, heads=2, epochs=3, lr=0.05, dropout=0.6, input_dropout=0.5, precision="64-true"
)


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> Path:
    return write_graph(tmp_path_factory.mktemp("graph") / "small.fg", num_parts=2)


@pytest.fixture(scope="module")
def run(graph, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(graph, folder, CONFIG, World())
    return folder


def _predict(world: World, graph: Path, run: Path, out: Path) -> None:
    predict(graph, run, out, world)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("num_ranks", [1, 2])
def test_predictions_equal_plain_pyg_in_the_original_order(graph, run, tmp_path, num_ranks):
    out = tmp_path / "pred.npz"
    run_ranks(num_ranks, _predict, graph, run, out)
    model = build_model(
        "gat", NUM_FEATURES, NUM_CLASSES, hidden=8, num_layers=2, heads=2, dropout=0.6, input_dropout=0.5, seed=1
    )
    model = model.double().eval()
    model.load_state_dict(checkpoint.load(run)[0].best_model)
    values = arrays()
    with torch.no_grad():
        expected = model(torch.from_numpy(values["x"]).double(), torch.from_numpy(values["edge_index"])).numpy()
    with np.load(out) as predicted:
        assert set(predicted) == {"node_ids", "logits", "pred"}
        np.testing.assert_array_equal(predicted["node_ids"], np.arange(len(expected)))
        np.testing.assert_allclose(predicted["logits"], expected, rtol=1e-10, atol=1e-12)
        np.testing.assert_array_equal(predicted["pred"], expected.argmax(axis=1))
    assert [each.name for each in tmp_path.iterdir()] == ["pred.npz"]


def test_a_graph_without_labels_can_be_predicted(run, tmp_path):
    predict(write_graph(tmp_path / "bare.fg", num_parts=1, without=("y",)), run, tmp_path / "pred.npz", World())
    assert (tmp_path / "pred.npz").exists()


def test_what_does_not_fit_is_refused(graph, run, tmp_path):
    with pytest.raises(InputError) as caught:
        predict(graph, run, tmp_path / "pred.csv", World())
    assert (
        str(caught.value) == f"predictions are written as .npz; give --out a name that ends so: {tmp_path / 'pred.csv'}"
    )
    other = tmp_path / "run"
    other.mkdir()
    checkpoint.save(replace(checkpoint.load(run)[0], num_features=5), other, keep=1)
    with pytest.raises(GraphMismatch) as caught:
        predict(graph, other, tmp_path / "pred.npz", World())
    assert str(caught.value) == (
        f"the model was trained with 5 features but the graph has {NUM_FEATURES}; "
        f"give a graph of the same kind: {graph}"
    )
    assert not (tmp_path / "pred.npz").exists()
    with pytest.raises(InputError, match=r"^the run folder has no checkpoint; "):
        predict(graph, tmp_path, tmp_path / "pred.npz", World())
