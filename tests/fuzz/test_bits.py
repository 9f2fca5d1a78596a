"""Flipped bits and truncations of every file of a graph and of a run: refused, or shown to change nothing.

In CI 60 of each; by hand: ``pytest tests/fuzz/test_bits.py --flips 1000``.
"""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from google.protobuf.message import DecodeError
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.tensorflow_stub.errors import DataLossError

from fullgraph.comm import World
from fullgraph.errors import FullgraphError
from fullgraph.graph import PartitionedGraph
from fullgraph.train import TrainConfig, checkpoint, files, read_summary, train
from fullgraph.train.metrics import read_metrics
from tests.train.graphs import write_graph


def _graph(folder: Path) -> Any:
    stored = PartitionedGraph.open(folder)
    return stored.checksum, [stored.read_part(part) for part in range(stored.num_parts)]


def _flat(value: Any) -> Any:
    if isinstance(value, np.ndarray | torch.Tensor):
        return str(value.dtype), value.shape, bytes(np.asarray(value).tobytes())
    if isinstance(value, dict):
        return {key: _flat(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_flat(each) for each in value]
    if hasattr(value, "__dict__"):
        return {key: _flat(each) for key, each in vars(value).items() if key not in ("stored", "stored_rows")}
    return value


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("made")
    graph = write_graph(folder / "g.fg", num_parts=2)
    train(graph, folder / "run", TrainConfig(hidden=4, epochs=2), World())
    return graph, folder / "run"


def test_no_file_of_a_graph_or_a_run_is_silently_different(made, pytestconfig):
    graph, run = made
    readers = {
        "graph": lambda: _graph(graph),
        "checkpoints": lambda: checkpoint.load(run)[0],
        files.METRICS: lambda: read_metrics(run),
        files.SUMMARY: lambda: read_summary(run),
        files.CONFIG: lambda: checkpoint.config_of(run),  # which does not read it
        files.LOCK: lambda: None,  # its text is for people
        files.TENSORBOARD: lambda: [str(each) for each in EventFileLoader(str(events)).Load()],
    }
    (events,) = (run / files.TENSORBOARD).iterdir()
    good = {name: _flat(read()) for name, read in readers.items()}
    chance, found = random.Random(pytestconfig.getoption("fuzz_seed")), {"refused": 0, "no difference": 0, "fewer": 0}
    every = sorted(each for each in (*graph.rglob("*"), *run.rglob("*")) if each.is_file())
    for number in range(2 * pytestconfig.getoption("flips")):
        file = chance.choice(every)
        content = file.read_bytes()
        changed = bytearray(content)
        if number % 2:
            changed[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        else:
            changed = changed[: chance.randrange(len(content))]
        file.write_bytes(changed)
        place = file.relative_to(run).parts[0] if run in file.parents else "graph"
        try:
            read = _flat(readers[place]())
        except FullgraphError:
            found["refused"] += 1
        except (DataLossError, DecodeError):  # of TensorBoard's reader, which is not ours
            found["refused"] += 1
        else:
            is_part = isinstance(read, list) and place in (files.METRICS, files.TENSORBOARD)
            if is_part and len(read) < len(good[place]):
                assert all(each in good[place] for each in read)
                found["fewer"] += 1
            elif place == "checkpoints" and read != good[place]:
                assert read == _flat(checkpoint.load(run)[0])
                assert checkpoint.load(run)[1], "an older one, which is told"
                found["refused"] += 1
            else:
                assert read == good[place], file
                found["no difference"] += 1
        finally:
            file.write_bytes(content)
    print(found)
    assert found["refused"] > sum(found.values()) / 2
