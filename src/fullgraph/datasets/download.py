"""Data sets through the loaders of PyG and OGB, kept from hanging without a network and from leaving half files."""

import contextlib
import importlib
import io
import secrets
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch_geometric.datasets import Amazon, Coauthor, Flickr, KarateClub, Planetoid, Reddit
from torch_geometric.utils import index_to_mask

from fullgraph.datasets.convert_pyg import graph_from_pyg
from fullgraph.datasets.pt import PYG_CLASSES
from fullgraph.datasets.split import class_split
from fullgraph.errors import DatasetUnavailable
from fullgraph.extras import extra
from fullgraph.graph.graph import Graph

_CONNECT_SECONDS = 10.0
_STALL_SECONDS = 60.0  # longest wait for the next bytes
_PYG: dict[str, tuple[str, Callable[[str], Any]]] = {  # the host that serves it, and its loader
    "cora": ("github.com", lambda root: Planetoid(root, "Cora")),
    "citeseer": ("github.com", lambda root: Planetoid(root, "CiteSeer")),
    "pubmed": ("github.com", lambda root: Planetoid(root, "PubMed")),
    "amazon-computers": ("github.com", lambda root: Amazon(root, "Computers")),
    "amazon-photo": ("github.com", lambda root: Amazon(root, "Photo")),
    "coauthor-cs": ("github.com", lambda root: Coauthor(root, "CS")),
    "coauthor-physics": ("github.com", lambda root: Coauthor(root, "Physics")),
    "flickr": ("drive.usercontent.google.com", Flickr),
    "reddit": ("data.dgl.ai", Reddit),
}


def pyg_graph(name: str, root: Path) -> Graph:
    """A data set of ``torch_geometric.datasets``; where it has no split, a seeded one of 20 and 30 rows per class.

    Args:
        name: as in ``fullgraph.datasets.NAMES``.
        root: the set is kept in ``root / name``.

    Raises:
        DatasetUnavailable: when it is not there and cannot be downloaded.
    """
    host, loader = _PYG[name]
    data = _fetched(name, root, host, loader)[0]
    if "train_mask" not in data:
        data.update({key: torch.from_numpy(mask) for key, mask in class_split(data.y.numpy(), seed=0).items()})
    return graph_from_pyg(data)


def ogb_graph(name: str, root: Path) -> Graph:
    """A node-prediction set of the Open Graph Benchmark, edges as published, its own split as masks.

    Raises:
        MissingExtra: without ogb.
        DatasetUnavailable: when the set is neither there nor to be downloaded.
    """
    with extra("ogb", f"the data set {name}, unless you {_put_file(name)},"):
        ogb = importlib.import_module("ogb.nodeproppred")
    dataset = _fetched(name, root, "snap.stanford.edu", lambda folder: ogb.PygNodePropPredDataset(name, folder))
    split = dataset.get_idx_split()
    data = dataset[0]
    labels = data.y.view(-1)
    # papers100M has NaN where a node has no label
    labels = torch.where(labels.isnan(), -1, labels) if labels.is_floating_point() else labels
    data.y = labels.long()
    for key, part in (("train_mask", "train"), ("val_mask", "valid"), ("test_mask", "test")):
        data[key] = index_to_mask(torch.as_tensor(split[part]), data.num_nodes)
    return graph_from_pyg(data)


def karate_graph(root: Path) -> Graph:
    """Zachary's karate club, which PyG has without a download, with a seeded validation and test split."""
    data: Any = KarateClub()[0]
    others = np.random.default_rng(0).permutation(np.flatnonzero(~data.train_mask.numpy()))
    for key, rows in (("val_mask", others[:10]), ("test_mask", others[10:])):
        data[key] = index_to_mask(torch.from_numpy(rows), data.num_nodes)
    return graph_from_pyg(data)


FETCHED: Final[Mapping[str, Callable[..., Graph]]] = {
    "karate": karate_graph,
    **{name: partial(pyg_graph, name) for name in _PYG},
    "ogbn-arxiv": partial(ogb_graph, "ogbn-arxiv"),
    "ogbn-products": partial(ogb_graph, "ogbn-products"),
    "ogbn-papers100m": partial(ogb_graph, "ogbn-papers100M"),
}
"""By name, what the library that publishes it fetches; the folder is where that may keep its files."""


def _fetched(name: str, root: Path, host: str, loader: Callable[[str], Any]) -> Any:
    """The loader's data set, from ``root / name``; downloaded beside it first and renamed when complete."""
    folder = root / name
    with _loader_manners():
        if folder.is_dir():
            return loader(str(folder))
        _demand_connection(name, host)
        staging = root / f".{name}.downloading-{secrets.token_hex(4)}"
        try:
            staging.mkdir(parents=True)
            loader(str(staging))
            staging.rename(folder)
        except (Exception, SystemExit) as error:  # loaders raise anything, OGB's even leaves the program
            raise DatasetUnavailable(
                f"the download failed ({type(error).__name__}: {error}); try again, or {_put_file(name)}: {name}"
            ) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return loader(str(folder))


def _demand_connection(name: str, host: str) -> None:
    try:
        socket.create_connection((host, 443), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise DatasetUnavailable(
            f"the data set is not on this machine and {host} cannot be reached ({error}); {_put_file(name)}: {name}"
        ) from error


def _put_file(name: str) -> str:
    return f"put {name}.npz (docs/format.md) in a folder and set FULLGRAPH_DATA to that folder"


@contextlib.contextmanager
def _loader_manners() -> Iterator[None]:
    """Stalled sockets time out, prints go to stderr, OGB's question whether to download is answered with yes.

    And torch's restricted unpickler knows PyG's classes, which OGB's loader of 2023 does not tell it.
    """
    timeout, stdin = socket.getdefaulttimeout(), sys.stdin
    socket.setdefaulttimeout(_STALL_SECONDS)
    sys.stdin = io.StringIO("y\n" * 4)
    try:
        with contextlib.redirect_stdout(sys.stderr), torch.serialization.safe_globals(PYG_CLASSES):
            yield
    finally:
        socket.setdefaulttimeout(timeout)
        sys.stdin = stdin
