"""Reads what torch.save made of a PyG graph, with torch's restricted unpickler: a file cannot run code."""

import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data, HeteroData
from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
from torch_geometric.data.storage import BaseStorage, EdgeStorage, GlobalStorage, NodeStorage

from fullgraph.datasets.bounds import PER_SPARSE_BYTE, check_archive, demand_bounded
from fullgraph.datasets.convert_pyg import graph_from_pyg
from fullgraph.datasets.npz import naming
from fullgraph.errors import GraphFormatError
from fullgraph.graph.graph import Graph

ADJACENCIES = ("adj", "adj_t")
PYG_CLASSES = [DataEdgeAttr, DataTensorAttr, BaseStorage, EdgeStorage, GlobalStorage, NodeStorage]
"""What a saved ``Data`` or ``HeteroData`` is made of beside the classes that PyG itself declares safe."""


def read_pt(path: Path) -> Graph:
    """A ``Data`` or ``HeteroData``, its ``to_dict()``, or the file a PyG ``InMemoryDataset`` of one graph saves.

    Raises:
        GraphFormatError: when the file is none of these, or holds classes that PyG does not declare safe.
        InputError: when the graph in it breaks a rule of ``Graph``; the file is named.
    """
    try:
        check_archive(path)
        with torch.serialization.safe_globals(PYG_CLASSES), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's doubts about a file that it then refuses
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # garbage makes the unpickler raise anything
        found = re.search(r"unsupported (?:global: )?\w+ [\w.]+", str(error), re.IGNORECASE)
        reason = found[0] if found else type(error).__name__
        raise GraphFormatError(
            f"torch cannot load the file safely ({reason}); save a plain PyG Data or HeteroData with torch.save: {path}"
        ) from error
    if isinstance(content, tuple) and len(content) in (2, 3):  # (data or its dict, slices, class)
        if content[1] is not None:
            raise GraphFormatError(f"the file holds many graphs, save the one to use alone: {path}")
        content = content[0]
    with naming(path):
        data = _data(content)
        for store in data.stores:
            for key, value in store.items():
                # strides of 0 make many numbers of one; a sparse matrix becomes dense if it is no adjacency
                if isinstance(value, torch.Tensor) and (value.layout == torch.strided or key not in ADJACENCIES):
                    asked = value.numel() * value.element_size()
                    demand_bounded(f"the tensor {key}", asked, path.stat().st_size, PER_SPARSE_BYTE)
        return graph_from_pyg(data)


def _data(content: Any) -> Data | HeteroData:
    if isinstance(content, dict):
        several_types = "_global_store" in content or any(isinstance(value, dict) for value in content.values())
        content = HeteroData.from_dict(content) if several_types else Data.from_dict(content)
    if not isinstance(content, Data | HeteroData):
        raise GraphFormatError(f"the file must hold a PyG Data or HeteroData, not {type(content).__name__}")
    return content
