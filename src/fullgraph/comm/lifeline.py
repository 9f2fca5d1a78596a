"""Ends this process with the one that started it: a rank without its launcher would wait for ever, unnoticed.

A parent-death signal will not do: ranks are children of a server of forks, not of the launcher.
"""

import os
import select
import threading

ORPHAN_EXIT_CODE = 3


def end_with(pid: int) -> None:
    """Leave this process at once, with code 3, when process ``pid`` of this machine ends. A thread watches it."""
    try:
        ended = os.pidfd_open(pid)
    except ProcessLookupError:
        os._exit(ORPHAN_EXIT_CODE)
    threading.Thread(target=_leave_after, args=(ended,), name="lifeline", daemon=True).start()


def _leave_after(ended: int) -> None:
    select.select([ended], [], [])
    os._exit(ORPHAN_EXIT_CODE)
