"""A run folder has one owner: two runs in one folder would write over each other's files, and nobody would notice."""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fullgraph.errors import InputError
from fullgraph.replacing import replace_text
from fullgraph.train import checkpoint as checkpoints
from fullgraph.train import files
from fullgraph.train.config import TrainConfig


@contextmanager
def owned(run: Path, config: TrainConfig, *, resume: bool) -> Iterator[None]:
    """Own the folder within the block, and write the config to it.

    The kernel keeps the lock and lets go of it with the process, however that ends.

    Raises:
        InputError: another process owns it, it holds a run that is not to be resumed, or it cannot be written.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        file = (run / files.LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise _unwritable(run, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise InputError(
                f"another run is at work in this folder ({file.read().strip() or 'not known which'}); wait for it, "
                f"stop it, or give another --run: {run}"
            ) from None
        except OSError as error:
            raise _unwritable(run, error) from error
        if not resume and checkpoints.epochs(run):
            raise InputError(
                f"the run folder holds a run already; add --resume to go on with it, or give another --run: {run}"
            )
        try:
            file.truncate(0)
            file.write(f"machine {socket.gethostname()}, process {os.getpid()}, since {time.strftime('%F %T')}\n")
            file.flush()
            replace_text(run / files.CONFIG, config.to_json())
        except OSError as error:
            raise _unwritable(run, error) from error
        yield


def _unwritable(run: Path, error: OSError) -> InputError:
    return InputError(f"the run folder cannot be written ({error.strerror}); give another --run: {run}")
