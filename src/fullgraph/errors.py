"""What can go wrong, by whose fault: one class per kind, so that callers can tell a wrong file from a dead rank.

Every message says what was given, what was expected and what to do, with the value last, after a colon.
"""


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


class OutOfMemory(FullgraphError, MemoryError):
    """A rank's share of the graph does not fit into the memory that the rank may use."""


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
