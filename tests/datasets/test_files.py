"""PyG's .pt and edge lists, written by the tests as their users write them."""

import os
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from torch_geometric.data import Data, HeteroData, InMemoryDataset

from fullgraph.datasets import load
from fullgraph.errors import GraphFormatError, InputError
from fullgraph.graph import EDGE, NODE

DATA = Data(x=torch.ones(3, 2), edge_index=torch.tensor([[0, 1], [1, 2]]), y=torch.tensor([0, 1, 2]))


def hetero() -> HeteroData:
    data = HeteroData()
    data["a"].x = torch.ones(2, 2)
    data["a", "r", "a"].edge_index = torch.tensor([[0, 1], [1, 0]])
    return data


def test_pt_of_data_and_its_dict(tmp_path: Path) -> None:
    for content in (DATA, DATA.to_dict()):
        torch.save(content, tmp_path / "g.pt")
        graph = load(tmp_path / "g.pt")
        assert graph.num_nodes == {NODE: 3}
        np.testing.assert_array_equal(graph.edges[EDGE].dst, [1, 2])
        np.testing.assert_array_equal(graph.node_arrays[NODE]["y"], [0, 1, 2])


def test_pt_of_heterogeneous_data_and_its_dict(tmp_path: Path) -> None:
    for content in (hetero(), hetero().to_dict()):
        torch.save(content, tmp_path / "g.pt")
        assert list(load(tmp_path / "g.pt").edges) == [("a", "r", "a")]


def test_pt_that_a_pyg_dataset_saved(tmp_path: Path) -> None:
    InMemoryDataset.save([DATA], str(tmp_path / "one.pt"))
    assert load(tmp_path / "one.pt").num_nodes == {NODE: 3}
    InMemoryDataset.save([DATA, DATA], str(tmp_path / "two.pt"))
    with pytest.raises(GraphFormatError) as caught:
        load(tmp_path / "two.pt")
    assert str(caught.value) == f"the file holds many graphs, save the one to use alone: {tmp_path / 'two.pt'}"


class Harmful:
    def __reduce__(self) -> tuple:
        return (os.mkdir, ("harm",))


def test_pt_never_runs_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"x": Harmful()}, tmp_path / "g.pt")
    with pytest.raises(GraphFormatError) as caught:
        load(tmp_path / "g.pt")
    assert str(caught.value) == (
        "torch cannot load the file safely (unsupported GLOBAL posix.mkdir); save a plain PyG Data or "
        f"HeteroData with torch.save: {tmp_path / 'g.pt'}"
    )
    (tmp_path / "g.pt").write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(GraphFormatError, match=r"^torch cannot load the file safely \("):
        load(tmp_path / "g.pt")
    assert not (tmp_path / "harm").exists()


def test_pt_of_something_else(tmp_path: Path) -> None:
    torch.save(torch.ones(3), tmp_path / "g.pt")
    with pytest.raises(GraphFormatError) as caught:
        load(tmp_path / "g.pt")
    assert str(caught.value) == f"the file must hold a PyG Data or HeteroData, not Tensor: {tmp_path / 'g.pt'}"
    torch.save(Data(x=torch.ones(1, 1)), tmp_path / "g.pt")
    with pytest.raises(InputError, match=r"^g.pt: the graph needs an edge_index"):
        load(tmp_path / "g.pt")
    for content in (b"", b"hello world"):
        (tmp_path / "g.pt").write_bytes(content)
        with pytest.raises(GraphFormatError, match=r"^torch cannot load the file safely \(\w+\); save a plain PyG"):
            load(tmp_path / "g.pt")


def write_table(table: pa.Table, path: Path) -> None:
    if path.suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        pyarrow.parquet.write_table(table, path)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_edge_list(suffix: str, tmp_path: Path) -> None:
    table = pa.table({"dst": [1, 2, 0], "src": [0, 1, 3], "weight": [0.5, 1.5, 2.5], "comment": ["a", "b", "c"]})
    write_table(table, tmp_path / f"g{suffix}")
    graph = load(tmp_path / f"g{suffix}")
    assert graph.num_nodes == {NODE: 4}
    np.testing.assert_array_equal(graph.edges[EDGE].src, [0, 1, 3])
    np.testing.assert_array_equal(graph.edges[EDGE].dst, [1, 2, 0])
    assert list(graph.edges[EDGE].arrays) == ["edge_weight"]
    np.save(tmp_path / "g.x.npy", np.ones((6, 2)))
    np.save(tmp_path / "g.y.npy", np.arange(6))
    np.save(tmp_path / "g.train_idx.npy", np.array([4]))
    graph = load(str(tmp_path / f"g{suffix}"))
    assert graph.num_nodes == {NODE: 6}
    assert set(graph.node_arrays[NODE]) == {"x", "y", "train_mask"}
    np.testing.assert_array_equal(np.flatnonzero(graph.node_arrays[NODE]["train_mask"]), [4])


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_bad_edge_lists(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"g{suffix}"
    for table, message in (
        (pa.table({"src": [0], "to": [1]}), f"the edge list needs numeric columns src and dst; it has src, to: {path}"),
        (pa.table({"src": [0.5], "dst": [1]}), f"column src must hold whole numbers, not float64: {path}"),
        (pa.table({"src": [0, None], "dst": [1, 1]}), f"column src has 1 empty values, fill them in: {path}"),
    ):
        write_table(table, path)
        with pytest.raises(GraphFormatError) as caught:
            load(path)
        assert str(caught.value) == message
    write_table(pa.table({"src": [-4], "dst": [1]}), path)
    with pytest.raises(InputError) as negative:
        load(path)
    assert str(negative.value) == (
        f"g{suffix}: src of relation ('node', 'to', 'node') must not have a negative id; edge 0 has: -4"
    )
    write_table(pa.table({"src": [0], "dst": [1]}), path)
    np.save(tmp_path / "g.x.npy", np.array([{}], object))
    with pytest.raises(GraphFormatError, match=r"^the file is no \.npy of plain numbers \(.*\): .*g\.x\.npy$"):
        load(path)
    path.write_bytes(b"")
    with pytest.raises(GraphFormatError, match=r"^the edge list cannot be read \("):
        load(path)
