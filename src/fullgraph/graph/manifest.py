"""The index file of a partitioned graph: everything there is to know without touching an array; see docs/format.md."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from fullgraph.errors import GraphFormatError
from fullgraph.graph.check import DTYPES
from fullgraph.graph.checksum import ALGORITHM
from fullgraph.graph.graph import NodeType, Relation
from fullgraph.graph.layout import MANIFEST

FORMAT = "fullgraph-partitioned-graph"
VERSION = 1
LARGEST = 1 << 62
"""Beyond any number of a manifest."""


@dataclass(frozen=True, kw_only=True)
class ArrayEntry:
    """What every part's piece of an array has in common: numpy's name of the dtype, and the shape of one row."""

    dtype: str
    row_shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class NodeEntry:
    """One node type. ``offsets`` [num_parts + 1] are the part ranges; ``num_classes`` is None without class labels."""

    num_features: int
    num_classes: int | None
    offsets: tuple[int, ...]
    arrays: Mapping[str, ArrayEntry]


@dataclass(frozen=True, kw_only=True)
class RelationEntry:
    """One relation. ``num_edges`` [num_parts] counts the in-edges of the nodes that each part owns."""

    num_edges: tuple[int, ...]
    arrays: Mapping[str, ArrayEntry]


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """One array file: its size and the checksum of its whole content."""

    num_bytes: int
    checksum: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The whole index. ``files`` holds, part by part, every array file by its path inside the graph's folder."""

    method: str
    seed: int
    node_types: Mapping[NodeType, NodeEntry]
    relations: Mapping[Relation, RelationEntry]
    files: tuple[Mapping[str, FileEntry], ...]

    @property
    def num_parts(self) -> int:
        return len(self.files)

    def to_text(self) -> str:
        """As JSON, the same text for the same graph."""
        return json.dumps(
            {
                "format": FORMAT,
                "format_version": VERSION,
                "checksum": ALGORITHM,
                "num_parts": self.num_parts,
                "method": self.method,
                "seed": self.seed,
                "node_types": [{"name": name, **asdict(entry)} for name, entry in self.node_types.items()],
                "relations": [
                    {"source": source, "name": name, "destination": destination, **asdict(entry)}
                    for (source, name, destination), entry in self.relations.items()
                ],
                "parts": [
                    {"part": part, "files": {path: asdict(file) for path, file in files.items()}}
                    for part, files in enumerate(self.files)
                ],
            },
            indent=1,
            ensure_ascii=False,
        )


def is_graph_folder(path: Path) -> bool:
    """Whether a folder holds a partitioned graph of any version, whole or damaged."""
    try:
        content = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def manifest_from_text(text: str, path: str) -> Manifest:
    """Read and check an index.

    Args:
        text: the content of the file.
        path: what to call the file in messages.

    Raises:
        GraphFormatError: when it is no JSON, not this format or version, incomplete, or contradicts itself.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GraphFormatError(f"the manifest is not JSON ({error}); partition the graph again: {path}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise GraphFormatError(f"the manifest does not say format {FORMAT!r}, this is no partitioned graph: {path}")
    if content.get("format_version") != VERSION:
        raise GraphFormatError(
            f"the graph has format version {content.get('format_version')!r} but this fullgraph reads version "
            f"{VERSION}; partition it again with this fullgraph, or install the one that wrote it: {path}"
        )
    if content.get("checksum") != ALGORITHM:
        raise GraphFormatError(f"the manifest must use checksum {ALGORITHM!r}, not {content.get('checksum')!r}: {path}")
    try:
        return _checked(_parse(content))
    except GraphFormatError as error:
        reason = error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = f"has no {error}" if isinstance(error, KeyError) else f"has a wrong entry ({error})"
    raise GraphFormatError(f"the manifest {reason}; partition the graph again: {path}")


def _parse(content: dict[str, Any]) -> Manifest:
    num_parts = _read(int, content["num_parts"])
    numbers = sorted(_read(int, entry["part"]) for entry in content["parts"])
    for place, part in enumerate(numbers):
        if place and part == numbers[place - 1]:
            raise GraphFormatError(f"lists part {part} more than once")
        if part >= num_parts or part < 0:
            raise GraphFormatError(f"says {num_parts} parts but lists part {part}")
        if part != place:
            raise GraphFormatError(f"says {num_parts} parts but does not list part {place}")
    if len(numbers) < num_parts:
        raise GraphFormatError(f"says {num_parts} parts but does not list part {len(numbers)}")
    parts = sorted(content["parts"], key=lambda entry: entry["part"])
    return Manifest(
        method=_read(str, content["method"]),
        seed=_read(int, content["seed"]),
        node_types={_name(entry["name"]): _read(NodeEntry, entry) for entry in content["node_types"]},
        relations={
            (_name(entry["source"]), _name(entry["name"]), _name(entry["destination"])): _read(RelationEntry, entry)
            for entry in content["relations"]
        },
        files=tuple(_read(Mapping[str, FileEntry], entry["files"]) for entry in parts),
    )


def _name(value: Any) -> str:
    """A name that can be part of a file's."""
    name = _read(str, value)
    if not name.encode():  # which fails on half a letter
        raise ValueError("an empty name")
    return name


def _read(kind: Any, value: Any) -> Any:
    """A value of a type of this file, from what `asdict` and JSON made of it.

    Raises:
        KeyError, TypeError, ValueError: it is no such value.
    """
    if isinstance(kind, type) and is_dataclass(kind):
        return kind(**{each.name: _read(each.type, value[each.name]) for each in fields(kind)})
    inner = get_args(kind)
    if get_origin(kind) is Mapping:
        return {str(key): _read(inner[1], each) for key, each in dict(value).items()}
    if get_origin(kind) is tuple:
        return tuple(_read(inner[0], each) for each in value)
    if type(None) in inner:
        return None if value is None else _read(inner[0], value)
    if type(value) is not kind or (kind is int and abs(value) >= LARGEST):
        raise ValueError(f"{kind.__name__} expected: {str(value)[:40]}")
    return value


def _checked(manifest: Manifest) -> Manifest:
    def demand(fine: bool, what: str) -> None:
        if not fine:
            raise GraphFormatError(f"contradicts itself: {what}")

    demand(manifest.num_parts > 0, "it has no part")
    demand(bool(manifest.node_types), "it has no node type")
    for entry in (*manifest.node_types.values(), *manifest.relations.values()):
        for name, array in entry.arrays.items():
            _name(name)
            demand(all(size >= 0 for size in array.row_shape), f"array {name!r} has rows of shape {array.row_shape}")
            demand(array.dtype in (*DTYPES, "bfloat16"), f"array {name!r} has the dtype {array.dtype!r}")
    for name, node in manifest.node_types.items():
        demand(len(node.offsets) == manifest.num_parts + 1, f"node type {name!r} has offsets for other parts")
        demand(node.offsets[0] == 0, f"the offsets of node type {name!r} do not start at 0")
        rising = all(low <= high for low, high in zip(node.offsets, node.offsets[1:], strict=False))
        demand(rising, f"the offsets of node type {name!r} fall")
    for relation, entry in manifest.relations.items():
        demand(len(entry.num_edges) == manifest.num_parts, f"relation {relation} counts edges of other parts")
        demand(min(entry.num_edges) >= 0, f"relation {relation} counts fewer than 0 edges")
        for end in (relation[0], relation[2]):
            demand(end in manifest.node_types, f"relation {relation} joins an unknown node type")
    return manifest
