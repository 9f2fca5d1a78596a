"""Leaves a rank's error where torch's launcher looks for it, so that a run says once what happened."""

import json
import os
import time
from contextlib import suppress
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import get_error_handler

from fullgraph.errors import FullgraphError


def record(error: BaseException) -> bool:
    """Write ``error`` to the file that ``torchrun`` names (``TORCHELASTIC_ERROR_FILE``), if it does.

    Returns:
        Whether this process should print it as well: the only one of a run, or rank 0, since errors are the same on
        all ranks; that of another rank alone is in torchrun's report.
    """
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file is None:
        return True
    if not isinstance(error, FullgraphError):
        get_error_handler().record_exception(error)
    else:  # without the frames, which torchrun would print
        said = {"message": f"{type(error).__name__}: {error}", "extraInfo": {"timestamp": str(int(time.time()))}}
        with suppress(OSError):  # a full disk must not hide what is printed
            Path(file).write_text(json.dumps({"message": said}), encoding="utf-8")
    return os.environ.get("RANK") == "0"
