"""Runs one of the scripts of this folder and takes what it leaves behind."""

import random
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData
from torch_geometric.utils import coalesce, to_undirected

FOLDER = Path(__file__).parent
_NO_SCRIPTS = ("__init__", "running", "on_ranks", "test_programs")
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in _NO_SCRIPTS)

PLAIN = SimpleNamespace(open=lambda data, *_, **__: data, prepare=lambda model, data, *_, **__: model)
"""Stands for this library where a script runs as plain PyG."""


class Dataset(list):
    """A list of graphs with the attributes that PyG's data sets have."""

    num_features = num_node_features = 6
    num_classes = 4


def homogeneous() -> Dataset:
    """One undirected graph of 60 nodes: two isolated ones, a hub, some self-loops, edge weights and attributes."""
    g = torch.Generator().manual_seed(7)
    n = 60
    pairs = torch.randint(0, n - 2, (2, 170), generator=g)
    hub = torch.stack([torch.arange(30), torch.full((30,), 17)])
    loops = torch.tensor([[3, 9], [3, 9]])
    edge_index = coalesce(torch.cat([to_undirected(torch.cat([pairs, hub], dim=1)), loops], dim=1))
    e = edge_index.size(1)
    dtype = torch.get_default_dtype()
    order = torch.randperm(n, generator=g)
    masks = {}
    for name, part in (("train_mask", order[:26]), ("val_mask", order[26:40]), ("test_mask", order[40:])):
        masks[name] = torch.zeros(n, dtype=torch.bool).index_fill(0, part, True)
    data = Data(
        x=torch.randn(n, 6, generator=g).to(dtype),
        edge_index=edge_index,
        edge_attr=torch.randn(e, 3, generator=g).to(dtype),
        edge_weight=(torch.rand(e, generator=g) + 0.5).to(dtype),
        y=torch.randint(0, 4, (n,), generator=g),
        pos=torch.randn(n, 3, generator=g).to(dtype),
        **masks,
    )
    return Dataset([data])


def heterogeneous() -> Dataset:
    """Papers, authors and venues, with relations in both directions; sizes that differ by type."""
    g = torch.Generator().manual_seed(8)
    dtype = torch.get_default_dtype()
    data = HeteroData()
    sizes = {"paper": (40, 6), "author": (25, 5), "venue": (7, 4)}
    for kind, (n, f) in sizes.items():
        data[kind].x = torch.randn(n, f, generator=g).to(dtype)
    data["paper"].y = torch.randint(0, 4, (40,), generator=g)
    order = torch.randperm(40, generator=g)
    for name, part in (("train_mask", order[:18]), ("val_mask", order[18:28]), ("test_mask", order[28:])):
        data["paper"][name] = torch.zeros(40, dtype=torch.bool).index_fill(0, part, True)

    def edges(src: str, dst: str, count: int) -> Tensor:
        ends = [torch.randint(0, sizes[kind][0], (count,), generator=g) for kind in (src, dst)]
        return coalesce(torch.stack(ends))

    writes, cites, appears = edges("author", "paper", 90), edges("paper", "paper", 100), edges("paper", "venue", 40)
    data["author", "writes", "paper"].edge_index = writes
    data["paper", "rev_writes", "author"].edge_index = coalesce(writes.flip(0))
    data["paper", "cites", "paper"].edge_index = cites
    data["paper", "appears", "venue"].edge_index = appears
    data["venue", "rev_appears", "paper"].edge_index = coalesce(appears.flip(0))
    return Dataset([data])


def dataset_of(script: str) -> Dataset:
    """The graph that a script runs on: a heterogeneous one for names that begin with ``hetero_``."""
    return heterogeneous() if script.startswith("hetero_") else homogeneous()


def run_script(script: str, fg: Any, gather: Callable[[Any], Any] = lambda value: value) -> dict[str, Any]:
    """Run a script with ``fg`` in the place of this library; what it leaves behind, as plain tensors by name.

    Args:
        script: the name of a file in this folder.
        fg: has ``open`` and ``prepare``.
        gather: makes a plain tensor of all rows of what the script left.
    """
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    left = runpy.run_path(str(FOLDER / f"{script}.py"), {"fg": fg, "dataset": dataset_of(script)})
    found: dict[str, Any] = {}
    for name in ("losses", "out"):
        for key, value in _tensors(name, left.get(name)):
            found[key] = gather(value) if isinstance(value, Tensor) else torch.tensor(float(value))
    models = left.get("models", [left["model"]] if "model" in left else [])
    for number, model in enumerate(models):
        for name, value in model.state_dict().items():
            if isinstance(value, Tensor):
                found[f"model {number} {name}"] = gather(value)
    return {name: value.detach().clone() for name, value in found.items()}


def _tensors(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from _tensors(f"{name} {key}", entry)
    elif isinstance(value, list | tuple):
        for number, entry in enumerate(value):
            yield from _tensors(f"{name} {number}", entry)
    elif value is not None:
        yield name, value
