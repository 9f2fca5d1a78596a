"""R-GCN and HGT by name on a graph of several types: the same run on any number of ranks, resumed, and predicted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fullgraph.bench.relational import quick_graph
from fullgraph.comm import World
from fullgraph.errors import GraphMismatch, InputError
from fullgraph.graph import Graph
from fullgraph.predict import predict
from fullgraph.pyg.partition import partition
from fullgraph.pyg.typed_models import LAYERS, Typed
from fullgraph.train import TrainConfig, checkpoint, train
from fullgraph.train.metrics import read_metrics
from tests.ranks import run_ranks
from tests.train.graphs import write_graph

pytestmark = pytest.mark.timeout(240)
CONFIGS = {
    "rgcn": TrainConfig(model="rgcn", hidden=8, epochs=4, precision="64-true", checkpoint_every=2),
    "hgt": TrainConfig(model="hgt", hidden=8, heads=2, epochs=4, precision="64-true", checkpoint_every=2),
}

FOR_ONE_TYPE = "is for graphs of one type; give --model rgcn or hgt"


def _train(world: World, graph: Path, run: Path, config: TrainConfig, resume: bool = False):
    return train(graph, run, config, world, resume=resume)


def _predict(world: World, graph: Path, run: Path, out: Path) -> None:
    predict(graph, run, out, world)


def _losses(run: Path) -> list[float]:
    return [line["train_loss"] for line in read_metrics(run)]


def _with(**arrays: np.ndarray) -> Graph:
    """The graph with more arrays of authors."""
    graph = quick_graph()
    return Graph(
        num_nodes=graph.num_nodes,
        node_arrays={**graph.node_arrays, "author": {**graph.node_arrays.get("author", {}), **arrays}},
        edges=graph.edges,
    )


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "papers.fg"
    partition(quick_graph(), path, num_parts=4, method="random")
    return path


@pytest.fixture(scope="module", params=CONFIGS)
def run(request, graph, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / request.param
    train(graph, folder, CONFIGS[request.param], World())
    return folder


def test_two_ranks_train_the_same_model(graph, run, tmp_path):
    first, second = run_ranks(2, _train, graph, tmp_path / "two", CONFIGS[run.name])
    assert first == second
    assert _losses(tmp_path / "two") == pytest.approx(_losses(run), rel=1e-9)
    assert len(set(_losses(run))) == 4


def test_a_resumed_run_goes_on_on_another_number_of_ranks(graph, run, tmp_path):
    config = CONFIGS[run.name]
    run_ranks(4, _train, graph, tmp_path / "run", replace(config, epochs=1))
    run_ranks(2, _train, graph, tmp_path / "run", replace(config, epochs=2), True)
    run_ranks(3, _train, graph, tmp_path / "run", config, True)
    assert _losses(tmp_path / "run") == pytest.approx(_losses(run), rel=1e-9)
    ours, theirs = checkpoint.load(tmp_path / "run")[0], checkpoint.load(run)[0]
    assert ours.model["rows.author.weight"].shape == (25, 8)
    torch.testing.assert_close(ours.model, theirs.model, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(ours.best_model, theirs.best_model, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(ours.optimizer["state"], theirs.optimizer["state"], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("num_ranks", [1, 2])
def test_predictions_are_those_of_plain_pyg_in_the_original_order(graph, run, tmp_path, num_ranks):
    run_ranks(num_ranks, _predict, graph, run, tmp_path / "pred.npz")
    whole, config = quick_graph(), CONFIGS[run.name]
    metadata = (list(whole.num_nodes), list(whole.edges))
    model = Typed(
        {"paper": 4},
        whole.num_nodes,
        LAYERS[run.name],
        metadata,
        "paper",
        3,
        hidden=8,
        heads=config.heads,
    )
    model.double().eval().load_state_dict(checkpoint.load(run)[0].best_model)
    x = torch.from_numpy(whole.node_arrays["paper"]["x"]).double()
    edges = {name: torch.from_numpy(np.stack([e.src, e.dst])) for name, e in whole.edges.items()}
    with torch.no_grad():
        expected = model({"paper": x}, edges).numpy()
    with np.load(tmp_path / "pred.npz") as predicted:
        np.testing.assert_array_equal(predicted["node_ids"], np.arange(60))
        np.testing.assert_allclose(predicted["logits"], expected, rtol=1e-9, atol=1e-11)
        np.testing.assert_array_equal(predicted["pred"], expected.argmax(axis=1))


def test_a_graph_of_one_type_is_the_case_of_one_relation(tmp_path):
    graph = write_graph(tmp_path / "small.fg", num_parts=2)
    train(graph, tmp_path / "one", CONFIGS["rgcn"], World())
    run_ranks(2, _train, graph, tmp_path / "two", CONFIGS["rgcn"])
    assert _losses(tmp_path / "two") == pytest.approx(_losses(tmp_path / "one"), rel=1e-9)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"target": "editor"}, InputError, "target must be a node type of the graph, paper, author: 'editor'"),
        (
            {"target": "author"},
            InputError,
            "training needs a label per node, but the graph has no array y of that kind: {graph}",
        ),
        (
            {"model": "gcn"},
            GraphMismatch,
            f"the graph has 2 node types and 2 relations, and gcn {FOR_ONE_TYPE}: {{graph}}",
        ),
    ],
)
def test_what_does_not_fit_the_graph_is_refused(graph, tmp_path, changes, error, message):
    with pytest.raises(error) as caught:
        train(graph, tmp_path / "run", replace(CONFIGS["rgcn"], **changes), World())
    assert str(caught.value) == message.format(graph=graph)
    assert not (tmp_path / "run").exists()


def test_two_types_with_classes_need_a_target(tmp_path):
    partition(_with(y=np.arange(25) % 2, train_mask=np.ones(25, bool)), tmp_path / "two.fg", num_parts=1)
    with pytest.raises(InputError) as caught:
        train(tmp_path / "two.fg", tmp_path / "run", CONFIGS["rgcn"], World())
    assert str(caught.value) == "several node types have labels, say which to learn with --target: paper, author"
    config = replace(CONFIGS["rgcn"], target="author", epochs=1)
    assert train(tmp_path / "two.fg", tmp_path / "run", config, World()).epochs == 1


def test_another_graph_than_the_models_is_refused(run, tmp_path):
    whole = quick_graph()
    few = {name: type(e)(src=e.src[:9] % 20, dst=e.dst[:9] % 20) for name, e in whole.edges.items()}
    renamed = {(src, f"also {name}", dst): e for (src, name, dst), e in few.items()}
    arrays = {"paper": whole.node_arrays["paper"]}
    for num_authors, edges, message in [
        (24, few, r"^the model has a learned row for each of 25 nodes of type 'author', so it fits "),
        (25, renamed, r"^the model was trained on other relations; give a graph of the same kind: "),
    ]:
        other = Graph(num_nodes={"paper": 60, "author": num_authors}, node_arrays=arrays, edges=edges)
        path = tmp_path / f"{num_authors}.fg"
        partition(other, path, num_parts=1)
        with pytest.raises(GraphMismatch, match=message):
            predict(path, run, tmp_path / "pred.npz", World())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm": "batch"}, "norm is for graphs of one type, but the model is rgcn; leave it out: batch"),
        ({"input_dropout": 0.5}, "input_dropout is for graphs of one type, but the model is rgcn; leave it out: 0.5"),
        ({"model": "hgt", "heads": 3}, "hidden must be a multiple of heads, which is 3: 8"),
        ({"model": "sage", "target": "paper"}, "target is for the models rgcn and hgt; leave it out: paper"),
    ],
)
def test_options_that_a_model_cannot_use_are_refused(changes, message):
    with pytest.raises(InputError) as caught:
        replace(CONFIGS["rgcn"], **changes)
    assert str(caught.value) == message
