"""Small graphs with labels of every kind, and the plain PyG program that a run is held against."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fullgraph.graph import Graph
from fullgraph.pyg.models import build_model
from fullgraph.pyg.partition import partition
from tests.train.graphs import NUM_CLASSES, NUM_FEATURES, NUM_NODES, arrays

Values = dict[str, np.ndarray]


def labelled(task: str) -> Values:
    """Node arrays with labels for a task; outside of the masks are labels that no task can take."""
    values, rng = arrays(), np.random.default_rng(1)
    masks = {
        f"{name}_mask": np.isin(np.arange(NUM_NODES), values[f"{name}_idx"][:35]) for name in ("train", "val", "test")
    }
    unmasked = ~np.any(list(masks.values()), axis=0)
    y: np.ndarray = values["y"]
    if task == "multiclass":
        y[unmasked] = -1
    elif task == "multilabel":
        y = (rng.normal(size=(NUM_NODES, 4)) + np.eye(NUM_CLASSES, 4)[values["y"]] > 0.5).astype(np.float32)
        y[rng.random(y.shape) < 0.2] = np.nan
        y[unmasked] = 7
    else:
        y = values["x"][:, :2] * rng.normal(size=(NUM_NODES, 2)).astype(np.float32) + values["y"][:, None]
        y[unmasked] = np.nan
    return {"x": values["x"], "y": y, **masks}


def write(path: Path, nodes: Values, *, num_parts: int = 3, edge_arrays: Values | None = None) -> Path:
    """The graph of `arrays`, partitioned, with these node arrays."""
    graph = Graph.homogeneous(arrays()["edge_index"], num_nodes=NUM_NODES, edge_arrays=edge_arrays, **nodes)
    partition(graph, path, num_parts=num_parts, method="random")
    return path


def plain(
    loss_of: Callable[[Tensor], Tensor], num_outputs: int, epochs: int, edge_index: np.ndarray | None = None
) -> tuple[list[float], list[Tensor], torch.nn.Module]:
    """Train PyG's GraphSAGE without dropout in float64 on the whole graph; the losses, the outputs after each epoch,
    and the model."""
    values = arrays()
    x = torch.from_numpy(values["x"]).double()
    index = torch.from_numpy(values["edge_index"] if edge_index is None else edge_index)
    model = build_model("sage", NUM_FEATURES, num_outputs, hidden=8, num_layers=2, seed=0).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    losses, outs = [], []
    for _ in range(epochs):
        optimizer.zero_grad()
        loss = loss_of(model(x, index))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        with torch.no_grad():
            outs.append(model(x, index))
    return losses, outs, model
