"""Leaves a rank's error where torch's launcher looks for it, so that a run says once what happened."""

import os

from torch.distributed.elastic.multiprocessing.errors import get_error_handler

from fullgraph.errors import FullgraphError


def record(error: BaseException) -> bool:
    """Write ``error`` to the file that ``torchrun`` names (``TORCHELASTIC_ERROR_FILE``), if it does.

    Returns:
        Whether this process should print it as well: the only one of a run, or rank 0, since errors are the same on
        all ranks; that of another rank alone is in torchrun's report.
    """
    if "TORCHELASTIC_ERROR_FILE" not in os.environ:
        return True
    try:
        raise error.with_traceback(None) if isinstance(error, FullgraphError) else error
    except BaseException as raised:  # whose frames are in the file, and printed: those of a user's mistake help nobody
        get_error_handler().record_exception(raised)
    return os.environ.get("RANK") == "0"
