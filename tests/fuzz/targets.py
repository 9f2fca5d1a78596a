"""Every kind of file that fullgraph reads, a good one of each, and how to read it after it was spoiled."""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import torch
from torch_geometric.data import Data

from fullgraph.comm import World
from fullgraph.datasets import load
from fullgraph.graph import PartitionedGraph
from fullgraph.graph.checksum import checksum_of_bytes
from fullgraph.predict import predict
from fullgraph.train import TrainConfig, checkpoint, train
from fullgraph.train.metrics import read_metrics
from tests.fuzz.mutations import spoiled_bytes, spoiled_json
from tests.train.graphs import arrays, write_graph

Attempt = tuple[str, Callable[[], object], Callable[[], None]]
"""What was spoiled, reading it, and making it good again."""


class Targets:
    """Files in a folder."""

    def __init__(self, folder: Path):
        self._folder, values = folder, arrays()
        np.savez(folder / "plain.npz", **values)
        np.savez_compressed(folder / "small.npz", **values)
        tensors = {key: torch.from_numpy(value) for key, value in values.items() if not key.endswith("_idx")}
        torch.save(Data(**tensors), folder / "data.pt")
        src, dst = values["edge_index"]
        table = pa.table({"src": src, "dst": dst, "w": np.ones(len(src), np.float32)})
        pyarrow.parquet.write_table(table, folder / "list.parquet")
        pyarrow.csv.write_csv(table, folder / "words.csv")
        np.save(folder / "list.x.npy", values["x"])
        self._sources = {name: name for name in ("plain.npz", "small.npz", "data.pt", "list.parquet", "words.csv")}
        self._sources["list.x.npy"] = "list.parquet"
        self.graph = write_graph(folder / "good.fg", num_parts=2)
        self._spoiled = folder / "spoiled.fg"
        shutil.copytree(self.graph, self._spoiled)
        self.run = folder / "run"
        train(self.graph, self.run, TrainConfig(hidden=4, epochs=1), World())

    def attempt(self, chance: random.Random) -> Attempt:
        """Spoil one file."""
        kind = chance.choice((*self._sources, "manifest", "manifest", "array", "run", "config"))
        if kind == "manifest":
            return self._manifest(chance)
        if kind == "array":
            return self._array(chance)
        if kind == "run":
            return self._run(chance)
        if kind == "config":
            text = spoiled_json(json.dumps(asdict(TrainConfig())), chance)
            return kind, lambda: TrainConfig.from_dict(dict(json.loads(text))), lambda: None
        file, source = self._folder / kind, self._folder / self._sources[kind]
        return kind, lambda: load(source), _spoil(file, spoiled_bytes(file.read_bytes(), chance))

    def _read_parts(self) -> None:
        stored = PartitionedGraph.open(self._spoiled)
        for part in range(min(stored.num_parts, 3)):
            stored.read_part(part)

    def _manifest(self, chance: random.Random) -> Attempt:
        file = self._spoiled / "manifest.json"
        if chance.random() < 0.2:
            content = spoiled_bytes(file.read_bytes(), chance)
        else:
            content = spoiled_json(file.read_text(), chance).encode()
        return "manifest", self._read_parts, _spoil(file, content)

    def _array(self, chance: random.Random) -> Attempt:
        """An array with a checksum that fits: what someone could write who knows the format."""
        index, files = self._spoiled / "manifest.json", sorted(self._spoiled.rglob("*.npy"))
        file = chance.choice(files)
        content, manifest = spoiled_bytes(file.read_bytes(), chance), json.loads(index.read_text())
        for part in manifest["parts"]:
            entry = part["files"].get(str(file.relative_to(self._spoiled)))
            if entry is not None:
                entry.update(num_bytes=len(content), checksum=checksum_of_bytes(content))
        mend_array, mend_index = _spoil(file, content), _spoil(index, json.dumps(manifest).encode())

        def mend() -> None:
            mend_array()
            mend_index()

        return "array", self._read_parts, mend

    def _run(self, chance: random.Random) -> Attempt:
        file = chance.choice(sorted(each for each in self.run.rglob("*") if each.is_file() and each.stat().st_size))
        mend = _spoil(file, spoiled_bytes(file.read_bytes(), chance))

        def read() -> None:
            read_metrics(self.run)
            checkpoint.load(self.run)
            checkpoint.config_of(self.run)
            if chance.random() < 0.1:
                predict(self.graph, self.run, self._folder / "pred.npz", World())

        return f"run/{file.name}", read, mend


def _spoil(file: Path, content: bytes) -> Callable[[], None]:
    good = file.read_bytes()
    file.write_bytes(content)
    return lambda: file.write_bytes(good) and None
