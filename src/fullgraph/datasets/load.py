"""The one way in: a source, as the user names it, becomes a graph."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from fullgraph.datasets.clean import planetoid_graph, undirected_graph
from fullgraph.datasets.digits import digits
from fullgraph.datasets.download import FETCHED
from fullgraph.datasets.npz import read_npz
from fullgraph.datasets.pt import read_pt
from fullgraph.datasets.synthetic import SIZES, synthetic
from fullgraph.datasets.table import read_table
from fullgraph.errors import InputError
from fullgraph.graph.graph import Graph
from fullgraph.stages import stage

READERS: Final[Mapping[str, Callable[[Path], Graph]]] = {
    ".npz": read_npz,
    ".pt": read_pt,
    ".parquet": read_table,
    ".csv": read_table,
}
# made here, with no file
_BUILT: Final[Mapping[str, Callable[[], Graph]]] = {
    "digits": digits,
    **{name: partial(synthetic, size) for name, size in SIZES.items()},
}
# what PyG's loaders do to the published files, for the same files as .npz
_CLEANED: Final[Mapping[str, Callable[[Graph], Graph]]] = {
    **dict.fromkeys(("cora", "citeseer", "pubmed"), planetoid_graph),
    **dict.fromkeys(("amazon-computers", "amazon-photo", "coauthor-cs", "coauthor-physics"), undirected_graph),
}
NAMES: Final = (*_BUILT, *FETCHED)


def load(source: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> Graph:
    """A graph from a data-set name or a file.

    A file is read as it is: ``.npz`` (docs/format.md), PyG's ``.pt``, or an edge list ``.parquet`` or ``.csv``. For a
    name, ``NAME.npz`` in the folder that the environment variable FULLGRAPH_DATA names comes first, cleaned as PyG
    cleans that set; any name that has such a file is a name. Otherwise the set is made here or fetched by PyG or OGB.
    Dashes and underscores are equal in names, and so are small and capital letters.

    Args:
        source: a name of ``NAMES``, a name with an ``.npz`` in FULLGRAPH_DATA, or a path.
        root: where PyG and OGB keep what they download; ``~/.cache/fullgraph/datasets`` when None.

    Raises:
        InputError: on an unknown name or a file that will not do.
        DatasetUnavailable: when a set cannot be fetched; the message says which file to put where.
    """
    with stage(f"reading {source}"):
        return _read(source, root)


def _read(source: str | os.PathLike[str], root: str | os.PathLike[str] | None) -> Graph:
    path = Path(source)
    if path.suffix in READERS:
        if not path.is_file():
            raise InputError(f"no such file: {path}")
        return READERS[path.suffix](path)
    name = str(source).lower().replace("_", "-")
    stored = _stored_file(name)
    if stored is not None:
        graph = read_npz(stored)
        return _CLEANED[name](graph) if name in _CLEANED else graph
    if name in _BUILT:
        return _BUILT[name]()
    if name in FETCHED:
        return FETCHED[name](Path(root) if root is not None else Path.home() / ".cache" / "fullgraph" / "datasets")
    raise InputError(
        f"no data set of this name: give one of {', '.join(NAMES)}, a NAME whose NAME.npz is in the folder "
        f"FULLGRAPH_DATA, or a path that ends in {', '.join(READERS)}: {str(source)!r}"
    )


def _stored_file(name: str) -> Path | None:
    folder = os.environ.get("FULLGRAPH_DATA")
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise InputError(f"FULLGRAPH_DATA must name a folder with NAME.npz files, or not be set: {folder}")
    for file in sorted(Path(folder).glob("*.npz")):
        if file.stem.lower().replace("_", "-") == name:
            return file
    return None
