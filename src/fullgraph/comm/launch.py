"""Starts the ranks of one machine, so that a user needs one command instead of a launcher's command line.

Ranks are forked from a server that has torch and PyG loaded already: a rank starts in about 0.1 s, where starting
Python anew would load both again in every rank. The store in which they find each other listens on one address, that of
this machine alone unless the caller says another: torch's own launcher listens on all, to whoever comes.
"""

import multiprocessing
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from fullgraph import errors
from fullgraph.comm.launchers import LOOPBACK, place
from fullgraph.comm.lifeline import end_with
from fullgraph.comm.meeting import LAUNCHER, WATCH
from fullgraph.errors import FullgraphError, InputError, PeerLost, Stopped

PRELOADED = ("torch", "torch_geometric.nn", "torch.distributed", "fullgraph.public", "scipy.sparse.csgraph")
VERDICT = f"{WATCH}/0/verdict"
"""Where ranks write who has stopped (`comm.watch`)."""
HINTS = {
    signal.SIGKILL: "; the machine may be out of memory",
    signal.SIGABRT: "; as gloo does where one rank calls what another does not",
}
"""What may have killed a rank."""
LAST_WORDS_SECONDS = 3.0
"""How long the others may still speak when a rank has failed: one that lost a peer may have been the first to end."""


class RankFailed(FullgraphError):
    """A rank raised an error that is not one of ours; the message ends with that rank's traceback."""


def launch(fn: Callable[..., Any], *args: Any, num_ranks: int, address: str = LOOPBACK) -> list[Any]:
    """Call ``fn(*args)`` in ``num_ranks`` processes of this machine and wait for all of them.

    In every process ``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``, ``MASTER_ADDR`` and ``MASTER_PORT`` are set as by
    ``torchrun``. The cores are shared out evenly unless ``OMP_NUM_THREADS`` is set. When one rank fails, the others
    are stopped. On Ctrl-C, SIGTERM or SIGHUP all are told by SIGTERM and may finish what they do; on a second one they
    are killed. They end with this process, however that ends.

    Args:
        fn: a module-level function (it is pickled by name). The calling script needs ``if __name__ == "__main__"``.
        args: its arguments, picklable.
        num_ranks: at least 1.
        address: of this machine, where ranks find each other. Whoever reaches it can disturb the run.

    Returns:
        What each rank returned, by rank.

    Raises:
        InputError: a launcher has started this process as one of several.
        PeerLost: a rank was killed; the message names it and the signal.
        FullgraphError: of the class and with the message that a rank raised; `Stopped` if all were told to stop and
            one said how far it came.
        RankFailed: a rank raised anything else.
        KeyboardInterrupt, SystemExit: this process was told to stop.
    """
    if num_ranks < 1:
        raise InputError(f"num_ranks must be at least 1: {num_ranks}")
    outer = place(os.environ)
    if int(outer.get("WORLD_SIZE", 1)) > 1:
        raise InputError(
            f"a launcher started this process as one of {outer['WORLD_SIZE']}, and each would start ranks of its own; "
            f"start this once, without the launcher: rank {outer['RANK']}"
        )
    threads = int(os.environ.get("OMP_NUM_THREADS") or 0) or max(1, (os.cpu_count() or 1) // num_ranks)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    listening = socket.create_server((address, 0))
    port = listening.getsockname()[1]
    store = TCPStore(address, port, is_master=True, wait_for_workers=False, master_listen_fd=listening.detach())
    ranks: list[_Rank] = []
    try:
        with _told() as told:
            for rank in range(num_ranks):
                here, there = context.Pipe()
                settings = {"RANK": rank, "WORLD_SIZE": num_ranks, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": num_ranks}
                settings |= {
                    "MASTER_ADDR": address,
                    "MASTER_PORT": port,
                    "TORCHELASTIC_USE_AGENT_STORE": True,
                    LAUNCHER: os.getpid(),
                }
                arguments = (
                    there,
                    {key: str(value) for key, value in settings.items()},
                    threads,
                    os.getpid(),
                    fn,
                    args,
                )
                process = context.Process(target=_rank_main, args=arguments)
                process.start()
                there.close()
                ranks.append(_Rank(process, here))
            return _results(ranks, told, store)
    finally:
        for each in ranks:
            each.process.kill()
            each.process.join()
        del store


@dataclass
class _Rank:
    process: BaseProcess
    connection: Connection
    said: tuple[str, Any] | None = None  # (what, value), see _rank_main

    def listen(self) -> None:
        """Note what the rank said, if anything."""
        try:
            if self.said is None and self.connection.poll():
                self.said = self.connection.recv()
        except (EOFError, OSError):
            pass  # it ended without a word

    @property
    def was_killed(self) -> bool:
        return self.said is None and (self.process.exitcode or 0) < 0

    @property
    def has_failed(self) -> bool:
        return self.said[0] != "result" if self.said else self.process.exitcode is not None


def _rank_main(
    connection: Connection,
    place: dict[str, str],
    threads: int,
    launcher: int,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the launcher tells this rank by SIGTERM
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with(launcher)
    os.environ.update(place)
    torch.set_num_threads(threads)
    try:
        said = ("result", fn(*args))
    except Exception as error:
        known = errors.ours(error)
        said = ("bug", traceback.format_exc()) if known is None else (type(known).__name__, str(known))
    connection.send(said)


def _results(ranks: Sequence[_Rank], told: Sequence[int], store: TCPStore) -> list[Any]:
    """What each rank returned, or the error that says best why one did not."""
    passed_on = 0
    while not any(each.has_failed for each in ranks):
        running = [each for each in ranks if each.said is None]
        if not running:
            return [each.said[1] for each in ranks if each.said]
        wait([x for each in running for x in (each.connection, each.process.sentinel)], timeout=0.2)
        for each in running:
            each.listen()
        if len(told) > passed_on:
            for each in ranks:
                each.process.terminate() if passed_on == 0 else each.process.kill()
            passed_on = len(told)
    deadline = time.monotonic() + LAST_WORDS_SECONDS
    while time.monotonic() < deadline and not any(each.was_killed for each in ranks):
        if all(each.said or each.process.exitcode is not None for each in ranks):
            break
        wait([each.process.sentinel for each in ranks if each.process.exitcode is None], timeout=0.1)
        for each in ranks:
            each.listen()
    error = _cause(ranks, store)
    if not told:
        raise error
    if isinstance(error, Stopped):
        raise Stopped(str(error), 128 + told[0])
    raise KeyboardInterrupt if told[0] == signal.SIGINT else SystemExit(128 + told[0])


def _cause(ranks: Sequence[_Rank], store: TCPStore) -> FullgraphError:
    """The error of the lowest rank that was killed, else of one that failed by itself, else of one that lost a peer."""
    for rank, each in enumerate(ranks):
        code = each.process.exitcode
        if each.said is None and code is not None:
            if code == PeerLost.exit_code and store.check([VERDICT]):  # its program did not notice
                return PeerLost(store.get(VERDICT).decode())
            if code >= 0:
                return PeerLost(f"rank {rank} exited with code {code}; all other ranks were stopped")
            name, hint = signal.Signals(-code).name, HINTS.get(signal.Signals(-code), "")
            return PeerLost(f"rank {rank} was killed by {name}{hint}; all other ranks were stopped")
    failed = [(rank, *each.said) for rank, each in enumerate(ranks) if each.said and each.said[0] != "result"]
    rank, kind, text = min(failed, key=lambda each: each[1] == PeerLost.__name__)
    if kind == "bug":
        last_line = text.strip().splitlines()[-1]
        return RankFailed(f"rank {rank} raised {last_line}\n{text}")
    return getattr(errors, kind)(text)


@contextmanager
def _told() -> Iterator[list[int]]:
    """The signals that told this process to stop, as they come; only the main thread hears them."""
    told: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    before = {
        each: signal.signal(each, lambda number, _: told.append(number))
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield told
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
