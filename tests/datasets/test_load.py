"""Names: where each is looked for, that the graphs are the ones published, and what is said without a network."""

import os
import socket
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.utils import coalesce, contains_self_loops, is_undirected, remove_self_loops, to_undirected

from fullgraph.datasets import NAMES, load
from fullgraph.datasets import download as download_module
from fullgraph.errors import DatasetUnavailable, InputError, MissingExtra
from fullgraph.graph import EDGE, NODE, Graph

# nodes, edges, features, classes, rows of train_mask
PUBLISHED = {
    "cora": (2_708, 10_556, 1_433, 7, 140),
    "citeseer": (3_327, 9_104, 3_703, 6, 120),
    "amazon_computers": (13_752, 491_722, 767, 10, 200),
    "coauthor_cs": (18_333, 163_788, 6_805, 15, 300),
    "ogbn_arxiv_nofeat": (169_343, 1_166_243, 0, 40, 90_941),
}
_BESIDE_THE_REPOSITORY = Path(__file__).parents[2].parent / "shared" / "datasets"
REAL_FILES = Path(os.environ.get("FULLGRAPH_DATA") or _BESIDE_THE_REPOSITORY)
STORED = ["tiny", *(name for name in PUBLISHED if (REAL_FILES / f"{name}.npz").is_file())]


def tiny_file(folder: Path, name: str = "tiny") -> None:
    """Four nodes with a self-loop, a repeated edge and one that has no reverse."""
    np.savez(
        folder / f"{name}.npz",
        edge_index=np.array([[0, 1, 1, 2, 3], [1, 0, 0, 2, 1]], np.int32),
        x=np.array([[0.0, 2.0], [0.5, 0.0], [0.0, 0.0], [1.0, 1.0]]),
        y=np.array([0, 1, -1, 1]),
    )


def index_of(graph: Graph) -> torch.Tensor:
    return torch.from_numpy(np.stack([graph.edges[EDGE].src, graph.edges[EDGE].dst]))


@pytest.mark.parametrize("name", STORED)
def test_a_stored_file_comes_first(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_file(tmp_path)
    monkeypatch.setenv("FULLGRAPH_DATA", str(tmp_path if name == "tiny" else REAL_FILES))
    graph = load(name.replace("_", "-"))
    arrays = graph.node_arrays[NODE]
    found = (
        graph.num_nodes[NODE],
        graph.edges[EDGE].num_edges,
        arrays["x"].shape[1] if "x" in arrays else 0,
        int(arrays["y"].max()) + 1,
        int(arrays["train_mask"].sum()) if "train_mask" in arrays else 0,
    )
    assert found == {**PUBLISHED, "tiny": (4, 5, 2, 2, 0)}[name]


def test_planetoid_files_are_cleaned_as_pyg_cleans_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_file(tmp_path, "Cora")
    monkeypatch.setenv("FULLGRAPH_DATA", str(tmp_path))
    raw = index_of(load(tmp_path / "Cora.npz"))  # a path is read as it is
    assert raw.shape[1] == 5
    expected = coalesce(remove_self_loops(raw)[0], num_nodes=4, sort_by_row=False)
    torch.testing.assert_close(index_of(load("cora")), expected)


def test_amazon_files_are_cleaned_as_pyg_cleans_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_file(tmp_path, "amazon_photo")
    monkeypatch.setenv("FULLGRAPH_DATA", str(tmp_path))
    raw = index_of(load(tmp_path / "amazon_photo.npz"))
    graph = load("Amazon-Photo")
    torch.testing.assert_close(index_of(graph), to_undirected(remove_self_loops(raw)[0], num_nodes=4))
    arrays = graph.node_arrays[NODE]
    np.testing.assert_array_equal(arrays["x"], [[0, 1], [1, 0], [0, 0], [1, 1]])
    masks = np.stack([arrays["train_mask"], arrays["val_mask"], arrays["test_mask"]])
    np.testing.assert_array_equal(masks.sum(axis=0), [1, 1, 0, 1])  # each labelled node in one


def test_digits() -> None:
    graph = load("digits")
    index, arrays = index_of(graph), graph.node_arrays[NODE]
    assert graph.num_nodes == {NODE: 1797}
    assert is_undirected(index, num_nodes=1797)
    assert not contains_self_loops(index)
    degree = np.bincount(graph.edges[EDGE].dst, minlength=1797)
    assert degree.min() == 10
    same = arrays["y"][graph.edges[EDGE].src] == arrays["y"][graph.edges[EDGE].dst]
    assert same.mean() > 0.9  # neighbours are the same digit
    assert (arrays["x"].min(), arrays["x"].max()) == (0, 1)
    assert [int(arrays[mask].sum()) for mask in ("train_mask", "val_mask", "test_mask")] == [200, 300, 1297]
    assert not (arrays["train_mask"] & arrays["test_mask"]).any()
    np.testing.assert_array_equal(load("Digits").node_arrays[NODE]["train_mask"], arrays["train_mask"])


def test_karate() -> None:
    graph = load("karate")
    assert (graph.num_nodes[NODE], graph.edges[EDGE].num_edges) == (34, 156)
    masks = np.stack([graph.node_arrays[NODE][mask] for mask in ("train_mask", "val_mask", "test_mask")])
    np.testing.assert_array_equal(masks.sum(axis=0), 1)
    assert [int(count) for count in masks.sum(axis=1)] == [4, 10, 20]


def test_an_unknown_name() -> None:
    with pytest.raises(InputError) as caught:
        load("corra")
    assert str(caught.value) == (
        f"no data set of this name: give one of {', '.join(NAMES)}, a NAME whose NAME.npz is in the folder "
        "FULLGRAPH_DATA, or a path that ends in .npz, .pt, .parquet, .csv: 'corra'"
    )


def test_a_path_to_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path / "g.npz")
    assert str(caught.value) == f"no such file: {tmp_path / 'g.npz'}"


def test_fullgraph_data_that_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FULLGRAPH_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(InputError) as caught:
        load("digits")
    assert str(caught.value) == (
        f"FULLGRAPH_DATA must name a folder with NAME.npz files, or not be set: {tmp_path / 'nowhere'}"
    )


@pytest.fixture
def no_stored_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FULLGRAPH_DATA", raising=False)


def refuse_connection(*arguments: Any, **options: Any) -> None:
    raise OSError("Network is unreachable")


@pytest.mark.usefixtures("no_stored_files")
@pytest.mark.parametrize("name", ["cora", "pubmed", "amazon-computers", "coauthor-physics"])
def test_no_network(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "create_connection", refuse_connection)
    with pytest.raises(DatasetUnavailable) as caught:
        load(name, root=tmp_path)
    assert str(caught.value) == (
        "the data set is not on this machine and github.com cannot be reached (Network is unreachable); put "
        f"{name}.npz (docs/format.md) in a folder and set FULLGRAPH_DATA to that folder: {name}"
    )
    assert not list(tmp_path.iterdir())


class Connection:
    def close(self) -> None:
        pass


@pytest.mark.usefixtures("no_stored_files")
def test_a_download_that_breaks_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks_off(root: str) -> None:
        (Path(root) / "raw").mkdir()
        (Path(root) / "raw" / "half").touch()
        assert socket.getdefaulttimeout() == 60
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", lambda *address, **options: Connection())
    monkeypatch.setitem(download_module._PYG, "pubmed", ("github.com", breaks_off))
    with pytest.raises(DatasetUnavailable) as caught:
        load("pubmed", root=tmp_path)
    assert str(caught.value) == (
        "the download failed (TimeoutError: timed out); try again, or put pubmed.npz (docs/format.md) in a folder and "
        "set FULLGRAPH_DATA to that folder: pubmed"
    )
    assert not list(tmp_path.iterdir())
    assert socket.getdefaulttimeout() is None


@pytest.mark.usefixtures("no_stored_files")
def test_a_download_is_kept_and_gets_a_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roots = []

    def loader(root: str) -> list[Data]:
        roots.append(root)
        (Path(root) / "file").touch()
        return [Data(x=torch.ones(4, 1), edge_index=torch.tensor([[0], [1]]), y=torch.tensor([0, 0, 0, 1]))]

    monkeypatch.setattr(socket, "create_connection", lambda *address, **options: Connection())
    monkeypatch.setitem(download_module._PYG, "amazon-photo", ("github.com", loader))
    graph = load("amazon-photo", root=tmp_path)
    assert graph.node_arrays[NODE]["train_mask"].sum() == 2
    monkeypatch.setattr(socket, "create_connection", refuse_connection)
    load("amazon-photo", root=tmp_path)  # needs no network any more
    assert [file.name for file in tmp_path.iterdir()] == ["amazon-photo"]
    assert roots[1:] == [str(tmp_path / "amazon-photo")] * 2


@pytest.mark.usefixtures("no_stored_files")
def test_ogb_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ogb.nodeproppred", None)
    with pytest.raises(MissingExtra) as caught:
        load("ogbn_products", root=tmp_path)
    assert str(caught.value) == (
        "the data set ogbn-products, unless you put ogbn-products.npz (docs/format.md) in a folder and set "
        "FULLGRAPH_DATA to that folder, needs a library that is not installed; type: pip install 'fullgraph[ogb]': "
        "ogb.nodeproppred"
    )


@pytest.mark.usefixtures("no_stored_files")
def test_ogb_split_and_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Loader:
        def __init__(self, name: str, root: str) -> None:
            assert input("This will download 1.38GB. Will you proceed? (y/N)\n") == "y"
            assert name == "ogbn-papers100M"

        def get_idx_split(self) -> dict[str, torch.Tensor]:
            return {"train": torch.tensor([0]), "valid": torch.tensor([2]), "test": torch.tensor([1])}

        def __getitem__(self, at: int) -> Data:
            y = torch.tensor([[3.0], [0.0], [1.0], [float("nan")]])
            return Data(x=torch.ones(4, 1), edge_index=torch.tensor([[0], [1]]), y=y)

    ogb = ModuleType("ogb.nodeproppred")
    ogb.PygNodePropPredDataset = Loader  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "ogb", ModuleType("ogb"))
    monkeypatch.setitem(sys.modules, "ogb.nodeproppred", ogb)
    monkeypatch.setattr(socket, "create_connection", lambda *address, **options: Connection())
    arrays = load("ogbn-papers100M", root=tmp_path).node_arrays[NODE]
    np.testing.assert_array_equal(arrays["y"], [3, 0, 1, -1])
    np.testing.assert_array_equal(arrays["val_mask"], [False, False, True, False])
