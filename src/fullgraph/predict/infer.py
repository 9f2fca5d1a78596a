"""Predicts every node of the whole graph with a trained model: no sampling, so the numbers are the model's own."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fullgraph.comm.world import World
from fullgraph.errors import GraphMismatch, InputError
from fullgraph.graph.check import ids_as_int64
from fullgraph.pyg.prepare import prepare
from fullgraph.replacing import replacing
from fullgraph.rows import gather
from fullgraph.stages import stage
from fullgraph.train import checkpoint as checkpoints
from fullgraph.train.inputs import load_inputs
from fullgraph.train.states import own_model_state
from fullgraph.train.tasks import TASKS


@torch.no_grad()
def predict(graph: Path, run: Path, out: Path, world: World, pairs: Path | None = None) -> None:
    """Write the predictions of a run's best model for every node; every rank calls this.

    ``out`` is an ``.npz`` with, for N nodes in the order of the graph before it was partitioned, ``node_ids`` int64
    [N] and, in the run's number type unless they are whole numbers:

    - multiclass: ``logits`` [N, num_classes] and ``pred`` int64 [N], the class of the largest logit;
    - multilabel: ``logits`` [N, num_labels] and ``pred`` int64 [N, num_labels], 1 where the logit is above 0;
    - regression: ``pred`` [N, num_targets];
    - link: ``rows`` [N, hidden], what the decoder takes, and of n pairs ``pairs`` [n, 2] and ``logits`` [n].

    Args:
        graph: a partitioned graph's folder; any graph with the model's number of features, labels or not; of a
            type with learned rows, the nodes that the model was trained on.
        run: a run folder with a checkpoint.
        out: the file to write; rank 0 writes it, whole or not at all.
        pairs: for the task link, an ``.npy`` of pairs of node ids, whole numbers [n, 2].

    Raises:
        InputError: the same on every rank.
    """
    if out.suffix != ".npz":
        raise InputError(f"predictions are written as .npz; give --out a name that ends so: {out}")
    checkpoint, _ = checkpoints.load_everywhere(run, world)
    task = TASKS[checkpoint.config.task](config=checkpoint.config, num_outputs=checkpoint.num_outputs)
    inputs = task.bound(load_inputs(graph, checkpoint.config, world, num_outputs=checkpoint.num_outputs))
    for what, of_model, of_graph in (
        ("features", checkpoint.num_features, inputs.num_features),
        ("edge attributes", checkpoint.edge_dim, inputs.edge_dim),
    ):
        if of_model != of_graph:
            raise GraphMismatch(
                f"the model was trained with {of_model or 0} {what} but the graph has {of_graph or 0}; "
                f"give a graph of the same kind: {graph}"
            )
    model = inputs.model
    prepare(model, inputs.data)
    state = own_model_state(checkpoint.best_model or checkpoint.model, model, inputs.data)
    if state.keys() != model.state_dict().keys():
        raise GraphMismatch(f"the model was trained on other relations; give a graph of the same kind: {graph}")
    model.load_state_dict(state)
    model.eval()
    asked = None if pairs is None else world.together(lambda: _read_pairs(pairs))
    with stage("predicting"):
        predictions = task.predictions(inputs, asked)
        found: dict[str, Any] = {name: gather(values).cpu().numpy() for name, values in predictions.items()}
    if world.rank == 0:
        node_ids = np.arange(len(next(iter(found.values()))), dtype=np.int64)
        with replacing(out) as file:
            np.savez(file, node_ids=node_ids, **found)


def _read_pairs(path: Path) -> Tensor:
    try:
        pairs = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"the pairs cannot be read as .npy ({error}): {path}") from error
    if not isinstance(pairs, np.ndarray):
        raise InputError(f"the pairs must be one array, an .npy: {path}")
    return torch.from_numpy(ids_as_int64(pairs, "pairs"))
