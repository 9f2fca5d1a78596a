"""What can go wrong, by whose fault: one class per kind, so that callers can tell a wrong file from a dead rank.

Every message says what was given, what was expected and what to do, with the value last, after a colon.
"""

import errno


class FullgraphError(Exception):
    """Base of every error that fullgraph raises on purpose."""

    exit_code = 1


class InputError(FullgraphError, ValueError):
    """The user's mistake: a wrong argument, file or combination of both."""

    exit_code = 2


class GraphFormatError(InputError):
    """A file is not what its format demands: missing, truncated, corrupted, or of another version."""


class GraphMismatch(InputError):
    """A graph and a run do not fit together, for example more ranks than parts."""


class UnsupportedLayer(InputError):
    """A layer of the model cannot give its exact result on a partitioned graph."""


class UnsupportedOperation(InputError):
    """An operation on a partitioned graph's edge index has no global meaning."""


class DatasetUnavailable(InputError):
    """A data set is neither on disk nor to be had over the network."""


class MissingExtra(InputError):
    """A library that only some commands need is not installed."""


class OutOfMemory(FullgraphError, MemoryError):
    """A rank's share of the graph does not fit into the memory that the rank may use."""


class DiskFull(FullgraphError, OSError):
    """A file could not be written because its disk, or the user's share of it, is full."""


class NotFinite(FullgraphError):
    """A loss, a gradient or a weight is infinite or no number."""


class RanksDiffer(FullgraphError):
    """Ranks that should have the same model no longer do."""


class PeerLost(FullgraphError, RuntimeError):
    """Another rank stopped answering; this rank cannot go on."""

    exit_code = 3


class Stopped(FullgraphError):
    """The run was told to stop by a signal, and did so in good order.

    Attributes:
        exit_code: 128 and the signal's number.
    """

    def __init__(self, message: str, exit_code: int = 143) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def ours(error: BaseException) -> FullgraphError | None:
    """What a failure of the machine is called here, an error of ours is as it is; None for anything else, a bug."""
    if isinstance(error, FullgraphError):
        return error
    said = str(error).strip().partition("\n")[0]
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskFull(f"the disk is full, or your share of it is; make room, then go on: {error.filename or said}")
    if isinstance(error, OSError) and error.errno in _OF_PATHS and error.filename is not None:
        return InputError(f"a file or folder cannot be used ({error.strerror}); give another: {error.filename}")
    of_torch = isinstance(error, RuntimeError) and any(each in said for each in _OUT_OF_MEMORY)
    if isinstance(error, MemoryError) or of_torch:
        return OutOfMemory(
            "there was no memory for what this rank needs; start more ranks, or see what needs less in docs/modes.md; "
            f"torch or Python said: {said or type(error).__name__}"
        )
    return None


_OF_PATHS = (
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP),
    *(errno.EACCES, errno.EPERM, errno.EROFS),
)
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "not enough memory", "Cannot allocate memory")
