"""What is stored per node of this rank's parts: read into memory, or left on disk where the user wants that."""

from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor

from fullgraph.engine import Source, StreamedRows
from fullgraph.errors import InputError, OutOfMemory
from fullgraph.graph import NodeType, Part, PartitionedGraph, StoredRows
from fullgraph.graph.stored import file_dtype

NodeRows = dict[NodeType, dict[str, Tensor]]


def check_streamed(stored: PartitionedGraph, stream: Collection[str]) -> None:
    """Make sure that the arrays named can stay on disk.

    Raises:
        InputError: naming the first one that is not there or is no matrix of real numbers.
    """
    for name in stream:
        entries = [entry.arrays[name] for entry in stored.manifest.node_types.values() if name in entry.arrays]
        if not entries:
            known = sorted({each for node_type in stored.node_types for each in stored.node_array_names(node_type)})
            raise InputError(
                "stream must name arrays that the graph stores per node, which are "
                f"{', '.join(known) or 'none'}: {name!r}"
            )
        for entry in entries:
            if not getattr(torch, entry.dtype).is_floating_point or len(entry.row_shape) != 1:
                raise InputError(
                    f"stream must name arrays of real numbers [num_nodes, width]; {name!r} is {entry.dtype} with rows "
                    f"of shape: {list(entry.row_shape)}"
                )


def read_parts(
    stored: PartitionedGraph, own_parts: Sequence[int], stream: Collection[str], device: torch.device
) -> tuple[list[Part], NodeRows]:
    """The parts of one rank without their node arrays, and these joined, by node type and name.

    Raises:
        GraphFormatError: if a file is broken.
        OutOfMemory: if the arrays do not fit into memory.
    """
    names = {name for node_type in stored.node_types for name in stored.node_array_names(node_type)}
    parts = [stored.read_part(part, unmapped=names) for part in own_parts]
    rows: NodeRows = {}
    for node_type in stored.node_types:
        rows[node_type] = {}
        for name in stored.node_array_names(node_type):
            pieces = tuple(part.stored_rows[node_type][name] for part in parts)
            rows[node_type][name] = (
                _streamed(name, pieces, device) if name in stream else read_joined(name, pieces).to(device)
            )
    return parts, rows


def read_joined(name: str, pieces: Sequence[StoredRows]) -> Tensor:
    """Parts' pieces of an array, one after another, read straight into place: maps would need the memory twice.

    Raises:
        GraphFormatError: if a file is gone.
        OutOfMemory: if there is no memory for them.
    """
    shape = (sum(piece.num_rows for piece in pieces), *pieces[0].shape[1:])
    try:
        rows = np.empty(shape, file_dtype(pieces[0].dtype))
    except MemoryError as error:
        raise OutOfMemory(
            f"the array {name} of this rank does not fit into memory; start more ranks, or leave it on disk, if "
            f"it is of nodes, with stream=({name!r},) in Python and --stream on the command line; it takes, in MiB: "
            f"{sum(piece.num_rows * piece.row_bytes for piece in pieces) / 2**20:,.0f}"
        ) from error
    first, raw = 0, rows.reshape(-1).view(np.uint8)
    for piece in pieces:
        num_bytes = piece.num_rows * piece.row_bytes
        with piece.opened() as file:
            file.read(0, raw[first : first + num_bytes])
        first += num_bytes
    return torch.from_numpy(rows).view(getattr(torch, pieces[0].dtype))


def _streamed(name: str, pieces: tuple[StoredRows, ...], device: torch.device) -> StreamedRows:
    stored = getattr(torch, pieces[0].dtype)
    dtype = torch.float32 if stored.itemsize == 2 else stored
    return StreamedRows.of(Source(name=name, parts=pieces, dtype=dtype, device=device))
