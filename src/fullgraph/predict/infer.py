"""Predicts every node of the whole graph with a trained model: no sampling, so the numbers are the model's own."""

from pathlib import Path

import numpy as np
import torch

from fullgraph.comm.world import World
from fullgraph.errors import GraphMismatch, InputError
from fullgraph.pyg.prepare import prepare
from fullgraph.replacing import replacing
from fullgraph.rows import gather
from fullgraph.stages import stage
from fullgraph.train import checkpoint as checkpoints
from fullgraph.train.inputs import load_inputs
from fullgraph.train.states import own_model_state


@torch.no_grad()
def predict(graph: Path, run: Path, out: Path, world: World) -> None:
    """Write the predictions of a run's best model for every node; every rank calls this.

    ``out`` is an ``.npz`` with, for N nodes in the order of the graph before it was partitioned, ``node_ids`` int64
    [N], ``logits`` [N, num_classes] in the run's number type and ``pred`` int64 [N], the class of the largest logit.

    Args:
        graph: a partitioned graph's folder; any graph with the model's number of features, labels or not; of a
            type with learned rows, the nodes that the model was trained on.
        run: a run folder with a checkpoint.
        out: the file to write; rank 0 writes it, whole or not at all.

    Raises:
        InputError: the same on every rank.
    """
    if out.suffix != ".npz":
        raise InputError(f"predictions are written as .npz; give --out a name that ends so: {out}")
    checkpoint, _ = checkpoints.load_everywhere(run, world)
    inputs = load_inputs(graph, checkpoint.config, world, num_classes=checkpoint.num_classes)
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
    with stage("predicting"):
        logits = gather(inputs.forward())
    if world.rank == 0:
        rows = logits.cpu().numpy()
        node_ids = np.arange(len(rows), dtype=np.int64)
        with replacing(out) as file:
            np.savez(file, node_ids=node_ids, logits=rows, pred=rows.argmax(axis=1).astype(np.int64))
