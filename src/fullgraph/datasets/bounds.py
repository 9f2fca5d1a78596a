"""How much memory a file may ask for: a few bytes of an archive or a header can stand for more than any machine has."""

import math
import zipfile
from pathlib import Path

from fullgraph.errors import GraphFormatError
from fullgraph.graph.stored import read_header

FREE = 64 << 20
"""Bytes that any file may ask for."""
PER_BYTE = 100
"""Bytes that it may ask for beyond these, for each of its own: zeros shrink well, but not without end."""
PER_SPARSE_BYTE = 1000
"""The same for features that are stored as sparse."""


def demand_bounded(what: str, asked: int, stored: int, per_byte: int = PER_BYTE) -> None:
    """Refuse ``asked`` bytes of memory from ``stored`` bytes of a file, if that cannot be meant.

    Raises:
        GraphFormatError: without the file's name.
    """
    if asked > FREE + per_byte * stored:
        raise GraphFormatError(
            f"{what} would take {asked:,} bytes of memory, too many for the {stored:,} bytes that are stored of it; "
            f"make the file again, or check where it comes from"
        )


def check_archive(path: Path) -> None:
    """Refuse a zip archive whose members would be too large; anything else passes.

    Raises:
        GraphFormatError: without the file's name.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            demand_bounded("its content", sum(each.file_size for each in archive.infolist()), path.stat().st_size)


def check_npy(path: Path) -> None:
    """Refuse a ``.npy`` file whose header promises other than what follows.

    Raises:
        ValueError: it does, or it is no such file.
    """
    offset, dtype, shape = read_header(path)
    promised = math.prod(shape) * dtype.itemsize
    if promised != path.stat().st_size - offset:
        raise ValueError(
            f"{dtype} of shape {list(shape)} takes {promised} bytes, {path.stat().st_size - offset} follow"
        )
