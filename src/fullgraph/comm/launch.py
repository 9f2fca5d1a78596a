"""Starts the ranks of one machine, so that a user needs one command instead of a launcher's command line.

The ranks are watched by torch's own elastic agent (the one behind ``torchrun``), in this process, with no restarts.
They are forked from a server that has torch and PyG loaded already: a rank starts in about 0.1 s, where starting
Python anew would load both again in every rank.
"""

import logging
import multiprocessing
import os
import re
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure, get_error_handler
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from fullgraph import errors
from fullgraph.errors import FullgraphError, InputError, PeerLost

PRELOADED = ("torch", "torch_geometric.nn", "torch.distributed.elastic.multiprocessing", "fullgraph")
SHUTDOWN_SECONDS = 5
NOTICE_SECONDS = 2.0
"""How long a rank that lost a peer waits before it exits, so that the agent sees the peer that died first."""


class RankFailed(FullgraphError):
    """A rank raised an error that is not one of ours; the message ends with that rank's traceback."""


def launch(fn: Callable[..., Any], *args: Any, num_ranks: int) -> list[Any]:
    """Call ``fn(*args)`` in ``num_ranks`` processes of this machine and wait for all of them.

    In every process ``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``, ``MASTER_ADDR`` and ``MASTER_PORT`` are set as by
    ``torchrun``. The cores are shared out evenly unless ``OMP_NUM_THREADS`` is set. When one rank fails, the others
    are stopped; on Ctrl-C or SIGTERM all are.

    Args:
        fn: a module-level function (it is pickled by name). The calling script needs ``if __name__ == "__main__"``.
        args: its arguments, picklable.
        num_ranks: at least 1.

    Returns:
        What each rank returned, by rank.

    Raises:
        PeerLost: a rank was killed; the message names it and the signal.
        FullgraphError: of the class and with the message that a rank raised.
        RankFailed: a rank raised anything else.
        KeyboardInterrupt, SystemExit: this process was told to stop.
    """
    if num_ranks < 1:
        raise InputError(f"num_ranks must be at least 1: {num_ranks}")
    threads = int(os.environ.get("OMP_NUM_THREADS", 0)) or max(1, (os.cpu_count() or 1) // num_ranks)
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(PRELOADED))
    with tempfile.TemporaryDirectory(prefix="fullgraph-launch-") as logs, _quiet(), _own_signal_handlers():
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=num_ranks,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",
            local_addr="127.0.0.1",
            max_restarts=0,
            monitor_interval=0.1,
            start_method="forkserver",
            shutdown_timeout=SHUTDOWN_SECONDS,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
        )
        try:
            results = elastic_launch(config, _rank_main)(fn, args, threads)
        except ChildFailedError as failed:
            rank, failure = failed.get_first_failure()
            raise _as_error(rank, failure) from None
        except SignalException as stopped:
            if stopped.sigval == signal.SIGINT:
                raise KeyboardInterrupt from None
            raise SystemExit(128 + stopped.sigval) from None
    return [results[rank] for rank in range(num_ranks)]


def _rank_main(fn: Callable[..., Any], args: tuple[Any, ...], threads: int) -> Any:
    torch.set_num_threads(threads)
    try:
        return fn(*args)
    except Exception as error:
        get_error_handler().record_exception(error)
        if isinstance(error, PeerLost):
            time.sleep(NOTICE_SECONDS)
        raise SystemExit(error.exit_code if isinstance(error, FullgraphError) else 1) from None


def _as_error(rank: int, failure: ProcessFailure) -> FullgraphError:
    if failure.exitcode < 0:
        cause = "; the machine may be out of memory" if -failure.exitcode == signal.SIGKILL else ""
        return PeerLost(f"rank {rank} was killed by {failure.signal_name()}{cause}; all other ranks were stopped")
    recorded = failure.error_file_data["message"]
    if isinstance(recorded, str):
        return PeerLost(f"rank {rank} exited with code {failure.exitcode}; all other ranks were stopped")
    name, text = re.fullmatch(r"(\w+): (.*)", recorded["message"], re.DOTALL).groups()  # pyright: ignore[reportOptionalMemberAccess]
    ours = getattr(errors, name, None)
    if isinstance(ours, type) and issubclass(ours, FullgraphError):
        return ours(text)
    return RankFailed(f"rank {rank} raised {name}: {text}\n{recorded['extraInfo']['py_callstack']}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the agent's own log lines: what they say is said once, by the error that `launch` raises."""
    names = ("torch.distributed.elastic", "torch.multiprocessing")
    loggers = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict) if name.startswith(names)]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


@contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Give back the signal handlers that the agent replaces for good."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT]
    before = {each: signal.getsignal(each) for each in handled}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
