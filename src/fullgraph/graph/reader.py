"""Opens a partitioned graph: the manifest at once, a part's arrays only when a rank asks for that part."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from fullgraph.errors import GraphFormatError, InputError
from fullgraph.graph.book import PartitionBook
from fullgraph.graph.check import EDGE_FILES
from fullgraph.graph.checksum import checksum_of_bytes, checksum_of_file
from fullgraph.graph.graph import NodeType, Relation
from fullgraph.graph.layout import MANIFEST, edge_file, node_file
from fullgraph.graph.manifest import ArrayEntry, Manifest, manifest_from_text
from fullgraph.graph.stored import StoredRows, file_dtype, read_header, version_of


@dataclass(frozen=True, kw_only=True)
class PartEdges:
    """The in-edges of the nodes that one part owns, as CSR over them.

    Attributes:
        indptr: int64 [num_owned + 1] over the owned destinations in partition order.
        src: int64 [num_edges], partition-order ids of the sources, ascending for each destination; ids may belong to
            any part.
        edge_ids: int64 [num_edges], positions in the original graph's edge list; they break ties among equal sources.
        arrays: what is stored per edge, each [num_edges, …].
        stored: all of these by the names of their files, to be read again.
    """

    indptr: np.ndarray
    src: np.ndarray
    edge_ids: np.ndarray
    arrays: Mapping[str, np.ndarray]
    stored: Mapping[str, StoredRows]


@dataclass(frozen=True, kw_only=True)
class Part:
    """All that one part owns. Arrays are mapped from disk, copied page by page if written to.

    Attributes:
        node_ids: per node type int64 [num_owned], the original ids of the owned rows.
        node_arrays: per node type what is stored per node, each [num_owned, …]; bfloat16 as the uint16 of its bits.
        stored_rows: per node type the arrays that were to stay unmapped, each [num_owned, …].
        edges: the owned nodes' in-edges of each relation.
    """

    node_ids: Mapping[NodeType, np.ndarray]
    node_arrays: Mapping[NodeType, Mapping[str, np.ndarray]]
    stored_rows: Mapping[NodeType, Mapping[str, StoredRows]]
    edges: Mapping[Relation, PartEdges]


@dataclass(frozen=True, kw_only=True)
class PartitionedGraph:
    """A partitioned graph on disk, of which only the manifest is in memory.

    Attributes:
        path: the graph's folder.
        manifest: its index.
        checksum: of the manifest's text: equal for ranks that opened the same graph.
    """

    path: Path
    manifest: Manifest
    checksum: str

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Read and check the manifest; no array is touched.

        Raises:
            GraphFormatError: when there is no partitioned graph at ``path``, or its manifest is broken or of another
                version.
        """
        path = Path(path)
        if not path.exists():
            raise GraphFormatError(f"no such folder; make it with `fullgraph partition`: {path}")
        if not path.is_dir() or not (path / MANIFEST).is_file():
            raise GraphFormatError(f"this is no partitioned graph, which is a folder with a {MANIFEST}: {path}")
        content = (path / MANIFEST).read_bytes()
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise GraphFormatError(
                f"the manifest is not UTF-8; partition the graph again: {path / MANIFEST}"
            ) from error
        manifest = manifest_from_text(text, str(path / MANIFEST))
        return cls(path=path, manifest=manifest, checksum=checksum_of_bytes(content))

    @property
    def num_parts(self) -> int:
        return self.manifest.num_parts

    @property
    def node_types(self) -> tuple[NodeType, ...]:
        return tuple(self.manifest.node_types)

    @property
    def relations(self) -> tuple[Relation, ...]:
        return tuple(self.manifest.relations)

    @property
    def book(self) -> PartitionBook:
        """Which part owns which partition-order ids."""
        offsets = {t: np.array(entry.offsets, np.int64) for t, entry in self.manifest.node_types.items()}
        return PartitionBook(offsets=offsets, name=str(self.path))

    @property
    def num_classes(self) -> int | None:
        """Classes of the first node type that has class labels, None when none has."""
        counts = (entry.num_classes for entry in self.manifest.node_types.values())
        return next((count for count in counts if count is not None), None)

    def num_nodes(self, node_type: NodeType) -> int:
        return self.manifest.node_types[node_type].offsets[-1]

    def num_edges(self, relation: Relation) -> int:
        return sum(self.manifest.relations[relation].num_edges)

    def num_features(self, node_type: NodeType) -> int:
        """Columns of ``x``, 0 without one."""
        return self.manifest.node_types[node_type].num_features

    def node_array_names(self, node_type: NodeType) -> tuple[str, ...]:
        return tuple(self.manifest.node_types[node_type].arrays)

    def edge_array_names(self, relation: Relation) -> tuple[str, ...]:
        return tuple(self.manifest.relations[relation].arrays)

    def read_part(self, part: int, *, unmapped: Collection[str] = ()) -> Part:
        """Map one part's arrays, after checking size, checksum, dtype and shape of every file.

        Args:
            part: its number.
            unmapped: names of node arrays that are checked and not mapped.

        Raises:
            InputError: when there is no such part.
            GraphFormatError: when a file is missing or is not what the manifest says; the message names it.
        """
        if not 0 <= part < self.num_parts:
            raise InputError(f"{self.path} has the parts 0 to {self.num_parts - 1}: {part}")
        node_ids, node_arrays, stored_rows, edges = {}, {}, {}, {}
        num_owned = {t: entry.offsets[part + 1] - entry.offsets[part] for t, entry in self.manifest.node_types.items()}
        for node_type, entry in self.manifest.node_types.items():
            owner = f"part {part} owns {num_owned[node_type]} nodes"
            stored = {
                name: self._check(part, node_file(part, node_type, name), array, num_owned[node_type], owner)
                for name, array in {"ids": _IDS, **entry.arrays}.items()
            }
            ids = stored.pop("ids")
            node_ids[node_type] = ids.mapped()
            _demand_ids(node_ids[node_type], self.num_nodes(node_type), "original ids", ids.file)
            node_arrays[node_type] = {name: each.mapped() for name, each in stored.items() if name not in unmapped}
            stored_rows[node_type] = {name: each for name, each in stored.items() if name in unmapped}
        for relation, entry in self.manifest.relations.items():
            rows, owner = entry.num_edges[part], f"part {part} owns {entry.num_edges[part]} edges"
            stored = {
                name: self._check(part, edge_file(part, relation, name), array, rows, owner)
                for name, array in {"src": _IDS, "ids": _IDS, **entry.arrays}.items()
            }
            in_indptr, indptr_file = num_owned[relation[2]] + 1, edge_file(part, relation, "indptr")
            stored["indptr"] = self._check(part, indptr_file, _IDS, in_indptr, f"part {part} needs {in_indptr}")
            arrays = {name: each.mapped() for name, each in stored.items()}
            indptr, src, edge_ids = (arrays.pop(name) for name in EDGE_FILES)
            if indptr[0] != 0 or indptr[-1] != rows or (np.diff(indptr) < 0).any():
                raise GraphFormatError(f"indptr must rise from 0 to {rows}: {stored['indptr'].file}")
            _demand_ids(src, self.num_nodes(relation[0]), "sources", stored["src"].file)
            _demand_ids(edge_ids, self.num_edges(relation), "original ids", stored["ids"].file)
            edges[relation] = PartEdges(indptr=indptr, src=src, edge_ids=edge_ids, arrays=arrays, stored=stored)
        return Part(node_ids=node_ids, node_arrays=node_arrays, stored_rows=stored_rows, edges=edges)

    def _check(self, part: int, name: str, entry: ArrayEntry, num_rows: int, owner: str) -> StoredRows:
        file = self.path / name
        known = self.manifest.files[part].get(name)
        again = "partition the graph again"
        if known is None:
            raise GraphFormatError(f"the manifest does not list a file of part {part}; {again}: {file}")
        if not os.path.isfile(file):  # where a name is too long, Path's own would fail
            raise GraphFormatError(f"a file of part {part} is missing; copy the graph again or {again}: {file}")
        status = file.stat()
        size = status.st_size
        if size != known.num_bytes:
            raise GraphFormatError(
                f"the file has {size} bytes but the manifest says {known.num_bytes}, it is truncated or not of this "
                f"graph; copy the graph again or {again}: {file}"
            )
        if checksum_of_file(file) != known.checksum:
            raise GraphFormatError(
                f"the file does not match its checksum, it is corrupted; copy the graph again or {again}: {file}"
            )
        try:
            offset, dtype, shape = read_header(file)
        except ValueError as error:
            raise GraphFormatError(f"the file is no .npy array ({error}); {again}: {file}") from error
        stem = file.name.removesuffix(".npy")
        if len(shape) == 0 or shape[0] != num_rows:
            raise GraphFormatError(f"{stem} has {shape[0] if shape else 0} rows but {owner}: {file}")
        if dtype != file_dtype(entry.dtype) or shape[1:] != entry.row_shape:
            raise GraphFormatError(
                f"{stem} must be {entry.dtype} with rows of shape {list(entry.row_shape)}, not {dtype} with rows "
                f"of shape {list(shape[1:])}: {file}"
            )
        stored = StoredRows(file=file, offset=offset, dtype=entry.dtype, shape=shape, version=version_of(status))
        if offset + num_rows * stored.row_bytes != size:
            raise GraphFormatError(f"{stem} has not the {size - offset} bytes that follow its header; {again}: {file}")
        return stored


def _demand_ids(ids: np.ndarray, count: int, what: str, file: Path) -> None:
    if len(ids) and (ids.min() < 0 or ids.max() >= count):
        raise GraphFormatError(f"{what} must be from 0 to {count - 1}: {file}")


_IDS = ArrayEntry(dtype="int64", row_shape=())
