"""Whatever is in a file, reading it gives a graph or one of our own errors, in bounded memory.

By hand: ``pytest tests/fuzz --fuzz-seconds 3600 --fuzz-seed 7``. What escaped once is in `ESCAPES`.
"""

import json
import random
import resource
import time
import traceback
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from torch_geometric.data import Data

from fullgraph.datasets import load
from fullgraph.errors import FullgraphError, GraphFormatError
from fullgraph.graph import PartitionedGraph
from fullgraph.train.memory import resident_bytes
from tests.fuzz.targets import Targets
from tests.train.graphs import arrays, write_graph

MOST_BYTES = 200 << 20
"""Memory that a spoiled file may take beyond what good ones do."""


@pytest.fixture(scope="module")
def targets(tmp_path_factory) -> Targets:
    return Targets(tmp_path_factory.mktemp("targets"))


def test_only_our_own_errors_come_out(targets, pytestconfig):
    seconds, seed = pytestconfig.getoption("fuzz_seconds"), pytestconfig.getoption("fuzz_seed")
    chance, deadline, count, refused = random.Random(seed), time.monotonic() + seconds, 0, 0
    escapes: dict[str, str] = {}
    idle = resident_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while time.monotonic() < deadline or count < 100:
            kind, read, mend = targets.attempt(chance)
            count += 1
            try:
                read()
            except FullgraphError:
                refused += 1
            except Exception as error:
                frames = traceback.extract_tb(error.__traceback__)
                place = next((f for f in reversed(frames) if "/fullgraph/" in f.filename), frames[-1])
                escapes[f"{kind}: {type(error).__name__} at {Path(place.filename).name}:{place.lineno}"] = str(error)
            finally:
                mend()
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - idle
    print(f"{count} files, {refused} refused, {growth / 2**20:.0f} MiB above idle")
    assert not escapes
    assert refused > count / 4
    assert growth < MOST_BYTES


def _deep(folder: Path) -> Path:
    write_graph(folder / "g.fg", num_parts=1)
    (folder / "g.fg" / "manifest.json").write_text("[" * 100_000)
    return folder / "g.fg"


def _many_parts(folder: Path) -> Path:
    graph = write_graph(folder / "g.fg", num_parts=1)
    content = json.loads((graph / "manifest.json").read_text())
    (graph / "manifest.json").write_text(json.dumps(content | {"num_parts": 1 << 40}))
    return graph


def _bomb(folder: Path) -> Path:
    file = folder / "g.npz"
    np.savez_compressed(file, **arrays(), extra=np.zeros(1 << 27, np.uint8))
    return file


def _lying_header(folder: Path) -> Path:
    file = folder / "g.npz"
    np.savez(file, **arrays())
    with zipfile.ZipFile(file, "a") as archive:
        header = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
        text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }"
        archive.writestr("extra.npy", header + text.ljust(117) + b"\n")
    return file


def _huge_id(folder: Path) -> Path:
    file = folder / "g.npz"
    np.savez(file, edge_index=np.array([[0], [1 << 40]]))
    return file


def _huge_sparse(folder: Path) -> Path:
    file = folder / "g.npz"
    sparse = {"x_data": [1.0], "x_indices": [0], "x_indptr": [0, 1], "x_shape": [1 << 20, 1 << 20]}
    np.savez(file, edge_index=np.array([[0], [1]]), **{key: np.array(value) for key, value in sparse.items()})
    return file


def _one_number_many_times(folder: Path) -> Path:
    edges = torch.tensor([[0, 1], [1, 0]])
    torch.save(Data(edge_index=edges, x=torch.ones(1, 1).expand(2, 1 << 32), num_nodes=2), folder / "g.pt")
    return folder / "g.pt"


def _constant_table(folder: Path) -> Path:
    constant = np.zeros(1 << 24, np.int64)
    pyarrow.parquet.write_table(pa.table({"src": constant, "dst": constant}), folder / "g.parquet")
    return folder / "g.parquet"


ESCAPES = (_deep, _many_parts, _bomb, _lying_header, _huge_id, _huge_sparse, _one_number_many_times, _constant_table)


@pytest.mark.parametrize("make", ESCAPES)
def test_what_escaped_once_is_refused(make, tmp_path):
    file = make(tmp_path)
    before = resident_bytes()
    warnings.simplefilter("ignore")  # until the end of the test, which is pytest's doing
    with pytest.raises(GraphFormatError) as caught:
        PartitionedGraph.open(file) if file.is_dir() else load(file)
    assert str(file) in str(caught.value)
    assert resident_bytes() - before < MOST_BYTES
