"""What an array of a graph must look like; found wrong here, it costs one sentence instead of a crash in a kernel."""

from collections.abc import Mapping

import numpy as np

from fullgraph.errors import InputError

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
MASKS = ("train_mask", "val_mask", "test_mask")
NODE_FILES = ("ids",)  # names that the disk format keeps for itself
EDGE_FILES = ("indptr", "src", "ids")


def check_name(what: str, name: str) -> None:
    """A name of a node type, relation or array: any text but the empty one."""
    if not isinstance(name, str) or not name:
        raise InputError(f"the name of a {what} must be text that is not empty: {name!r}")


def ids_as_int64(ids: np.ndarray, what: str) -> np.ndarray:
    """Node ids of any whole-number dtype as contiguous int64."""
    if ids.dtype.kind not in "iu":
        raise InputError(f"{what} must hold whole numbers (int64 or int32), cast it first: {ids.dtype}")
    return np.ascontiguousarray(ids, dtype=np.int64)


def check_node_arrays(node_type: str, arrays: Mapping[str, np.ndarray], num_nodes: int) -> None:
    """Rows, dtypes and values of everything stored for one node type.

    Raises:
        InputError: with the array's name, the node type and what was expected.
    """
    for name, array in arrays.items():
        what = f"{name} of node type {node_type!r}"
        _check_array(what, name, array, reserved=NODE_FILES)
        if len(array) != num_nodes:
            raise InputError(f"{what} must have one row for each of {num_nodes} nodes: {len(array)} rows")
        if name in MASKS and (array.dtype.kind != "b" or array.ndim > 2):
            raise InputError(
                f"{what} must be bool with shape [num_nodes] or [num_nodes, num_splits]: "
                f"{array.dtype} {list(array.shape)}"
            )
        if name == "x":
            check_finite(what, array)
        if name == "y" and array.ndim > 2:
            raise InputError(f"{what} must have shape [num_nodes] or [num_nodes, num_classes]: {list(array.shape)}")


def check_edges(
    relation: tuple[str, str, str],
    src: np.ndarray,
    dst: np.ndarray,
    arrays: Mapping[str, np.ndarray],
    num_nodes: tuple[int, int],
) -> None:
    """Ids and arrays of one relation; ``num_nodes`` counts the source type's nodes and the destination type's.

    Raises:
        InputError: with the relation, the array's name and the first offending value.
    """
    for end, ids, count in (("src", src, num_nodes[0]), ("dst", dst, num_nodes[1])):
        what = f"{end} of relation {relation}"
        if ids.dtype != np.int64 or ids.ndim != 1:
            raise InputError(f"{what} must be int64 with shape [num_edges]: {ids.dtype} {list(ids.shape)}")
        if len(ids) and ids.min() < 0:
            at = int(np.argmax(ids < 0))
            raise InputError(f"{what} must not have a negative id; edge {at} has: {ids[at]}")
        if len(ids) and ids.max() >= count:
            at = int(np.argmax(ids >= count))
            raise InputError(f"{what} must have ids below {count}, the number of nodes; edge {at} has: {ids[at]}")
    if len(src) != len(dst):
        raise InputError(f"relation {relation} has {len(src)} sources, so it needs as many destinations: {len(dst)}")
    for name, array in arrays.items():
        what = f"{name} of relation {relation}"
        _check_array(what, name, array, reserved=EDGE_FILES)
        if len(array) != len(src):
            raise InputError(f"{what} must have one row for each of {len(src)} edges: {len(array)} rows")
        if name in ("edge_weight", "edge_attr"):
            check_finite(what, array)


def check_finite(what: str, array: np.ndarray) -> None:
    """Refuse NaN and infinity, a block of rows at a time so that no mask of the whole array is made."""
    if array.dtype.kind != "f":
        return
    rows = max(1, (1 << 22) // max(1, array[:1].size))
    for start in range(0, len(array), rows):
        block = array[start : start + rows]
        finite = np.isfinite(block)
        if not finite.all():
            at = tuple(int(i) for i in np.argwhere(~finite)[0])
            raise InputError(f"{what} must be finite, replace NaN and infinity; row {start + at[0]} has: {block[at]}")


def _check_array(what: str, name: str, array: np.ndarray, *, reserved: tuple[str, ...]) -> None:
    check_name("array", name)
    if name in reserved:
        raise InputError(f"an array cannot be named {name!r}, the format keeps that name; rename {what}: {name!r}")
    if not isinstance(array, np.ndarray):
        raise InputError(f"{what} must be a numpy array: {type(array).__name__}")
    if array.dtype.name not in DTYPES:
        raise InputError(f"{what} must have one of the dtypes {', '.join(DTYPES)}: {array.dtype}")
    if array.ndim == 0:
        raise InputError(f"{what} must have rows, not be a single value: {array}")
