"""A small graph with something to learn, as the files that a user would give."""

from pathlib import Path

import numpy as np

from fullgraph.graph import Graph
from fullgraph.pyg.partition import partition

NUM_NODES, NUM_CLASSES, NUM_FEATURES = 120, 3, 8
NUM_TRAINED = 40


def arrays(seed: int = 0, num_trained: int = NUM_TRAINED) -> dict[str, np.ndarray]:
    """``edge_index``, ``x``, ``y`` and index sets of three noisy communities with 6 in-edges per node on average."""
    rng = np.random.default_rng(seed)
    y = rng.integers(NUM_CLASSES, size=NUM_NODES)
    src, dst = rng.integers(NUM_NODES, size=(2, 18 * NUM_NODES))
    kept = (y[src] == y[dst]) | (rng.random(len(src)) < 0.05)
    x = rng.normal(size=(NUM_NODES, NUM_FEATURES)) + np.eye(NUM_CLASSES, NUM_FEATURES)[y]
    order = rng.permutation(NUM_NODES)
    return {
        "edge_index": np.stack([src, dst])[:, kept],
        "x": x.astype(np.float32),
        "y": y,
        "train_idx": order[:num_trained],
        "val_idx": order[40:80],
        "test_idx": order[80:],
    }


def write_npz(path: Path) -> Path:
    """The graph as an input ``.npz``."""
    np.savez(path, **arrays())
    return path


def write_graph(
    path: Path, *, num_parts: int, without: tuple[str, ...] = (), seed: int = 0, num_trained: int = NUM_TRAINED
) -> Path:
    """The graph partitioned; ``without`` names node arrays to leave out."""
    values = arrays(seed, num_trained)
    masks = {f"{name}_mask": np.isin(np.arange(NUM_NODES), values[f"{name}_idx"]) for name in ("train", "val", "test")}
    nodes = {"x": values["x"], "y": values["y"], **masks}
    graph = Graph.homogeneous(
        values["edge_index"],
        num_nodes=NUM_NODES,
        **{name: array for name, array in nodes.items() if name not in without},
    )
    partition(graph, path, num_parts=num_parts, method="random")
    return path
