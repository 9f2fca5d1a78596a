"""Rows of one array file that are read when they are asked for, into memory of the caller's.

A map of the file would be simpler to use, but its size counts against a limit on address space, and its pages count as
the process's own once they were touched. Reading costs a copy and holds nothing.
"""

import os
import tokenize
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fullgraph.errors import GraphFormatError


@dataclass(frozen=True, kw_only=True)
class StoredRows:
    """One part's piece of an array, whose file was checked when the part was read.

    Attributes:
        file: a ``.npy`` file in C order, little-endian.
        offset: bytes before the first row.
        dtype: its name in the manifest. The file holds ``bfloat16`` as ``uint16``.
        shape: rows first.
        version: of the file that was checked, from `version_of`.
    """

    file: Path
    offset: int
    dtype: str
    shape: tuple[int, ...]
    version: tuple[int, ...]

    @property
    def num_rows(self) -> int:
        return self.shape[0]

    @property
    def row_bytes(self) -> int:
        return prod(self.shape[1:]) * file_dtype(self.dtype).itemsize

    def mapped(self) -> np.ndarray:
        """All rows, mapped from disk; copied page by page if written to."""
        return np.load(self.file, mmap_mode="c", allow_pickle=False).view(np.ndarray)

    @contextmanager
    def opened(self) -> Iterator["Reading"]:
        """Read from the file within.

        Raises:
            GraphFormatError: if it is gone, or another one.
        """
        try:
            file = self.file.open("rb")
        except OSError as error:
            raise GraphFormatError(
                f"a file of the graph can no longer be read ({error.strerror}); leave it in place while it is open: "
                f"{self.file}"
            ) from error
        with file:
            if version_of(os.fstat(file.fileno())) != self.version:
                raise GraphFormatError(
                    f"a file of the graph was changed while the graph was open; open it again: {self.file}"
                )
            yield Reading(self, file)


class Reading:
    """The open file of `StoredRows`."""

    def __init__(self, rows: StoredRows, file: BinaryIO):
        self._rows, self._file = rows, file

    def read(self, first: int, into: np.ndarray) -> None:
        """Fill ``into``, uint8 of whole rows, with the rows from ``first`` on.

        Raises:
            GraphFormatError: if the file ends before them.
        """
        self._file.seek(self._rows.offset + first * self._rows.row_bytes)
        num_bytes = self._file.readinto(memoryview(into))  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
        if num_bytes != len(into):
            raise GraphFormatError(
                f"the file became shorter while it was read; copy the graph again or partition it again: "
                f"{self._rows.file}"
            )


def version_of(status: os.stat_result) -> tuple[int, ...]:
    """What tells a file from one that has been written in its place."""
    return status.st_ino, status.st_mtime_ns, status.st_size


def file_dtype(name: str) -> np.dtype:
    """How an array file holds numbers of a dtype of the manifest: numpy has no bfloat16, so its bits as uint16."""
    return np.dtype("uint16" if name == "bfloat16" else name)


def read_header(file: Path) -> tuple[int, np.dtype, tuple[int, ...]]:
    """Where the rows of a ``.npy`` file start, their dtype and the shape.

    Raises:
        ValueError: if it is no such file, or not in C order.
    """
    with file.open("rb") as opened:
        version = np.lib.format.read_magic(opened)
        if version not in _HEADERS:
            raise ValueError(f"format version {version[0]}.{version[1]}")
        try:
            shape, fortran_order, dtype = _HEADERS[version](opened)
        except (tokenize.TokenError, SyntaxError, TypeError, MemoryError, RecursionError) as error:  # of garbage
            raise ValueError("its header cannot be parsed") from error
        if fortran_order and len(shape) > 1:
            raise ValueError("Fortran order")
        if dtype.hasobject:
            raise ValueError("Python objects")
        return opened.tell(), dtype, shape


_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
