"""METIS in a process of its own: the same parts, and no trouble of its is hidden or left behind."""

import errno
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pymetis
import pytest
import scipy.sparse as sp

from fullgraph.datasets.synthetic import Size, synthetic
from fullgraph.partitioners import assign_parts, metis
from fullgraph.partitioners.metis_process import cut_apart


def random_graph(num_nodes: int, num_edges: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    src, dst = np.random.default_rng(0).integers(0, num_nodes, (2, num_edges))
    src, dst = src[src != dst], dst[src != dst]
    ends = np.concatenate([src, dst]), np.concatenate([dst, src])
    adjacency = sp.coo_array((np.ones(len(ends[0]), bool), ends), shape=(num_nodes, num_nodes)).tocsr()
    return adjacency.indptr, adjacency.indices, np.ones(num_nodes, np.int64)


def test_a_large_graph_is_cut_outside_and_alike(monkeypatch):
    graph = synthetic(Size(num_nodes=1_000, num_edges=20_000, num_communities=10, num_features=1, num_classes=2))
    here = assign_parts(graph, num_parts=4)
    monkeypatch.setattr(sys.modules[metis.__module__], "SOON_CUT", 0)
    monkeypatch.setattr(pymetis, "part_graph", None)
    there = assign_parts(graph, num_parts=4)
    for node_type, parts in here.items():
        np.testing.assert_array_equal(parts, there[node_type])


@pytest.mark.parametrize(
    ("end", "error", "said"),
    [
        ("kill -9 $$", MemoryError, "METIS needs more"),
        (f"exit {errno.ENOMEM}", MemoryError, "METIS needs more"),
        ("exit 5", RuntimeError, "ended with code 5, and has said why"),
    ],
)
def test_what_ends_it_is_told(end, error, said, tmp_path, monkeypatch):
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\n{end}\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(error, match=said):
        cut_apart(*random_graph(100_000, 400_000), 2, 0)


def cut_for_long() -> None:
    cut_apart(*random_graph(100_000, 400_000), 20_000, 0)


@pytest.mark.timeout(120)
def test_it_ends_with_the_process_that_asked():
    asking = "from tests.partitioners.test_metis_process import cut_for_long; cut_for_long()"
    with subprocess.Popen([sys.executable, "-c", asking], cwd=Path(__file__).parents[2]) as process:
        children: list[psutil.Process] = []
        while not children:
            time.sleep(0.1)
            children = psutil.Process(process.pid).children()
        while children[0].cpu_times().user < 1.5:  # until it is in METIS
            time.sleep(0.1)
        process.kill()
        _, alive = psutil.wait_procs(children, timeout=4)
    assert not alive
