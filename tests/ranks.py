"""Runs a function on several ranks inside one test.

Ranks are processes forked from a server that has torch loaded already, and stay for the next test: starting them anew
for every one of hundreds of tests would take most of the time. After a failure or a time-out they are killed, since
they may wait for each other forever, and the next test starts fresh ones.
"""

import atexit
import multiprocessing
import os
import pickle
import socket
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch.distributed import TCPStore

import fullgraph as fg
from fullgraph.comm.launch import PRELOADED

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([*PRELOADED, "tests.ranks"])
_POOLS: dict[tuple[int, str], "_Pool"] = {}


class RankFailure(AssertionError):
    """What a rank raised, with its traceback."""


def run_ranks(
    num_ranks: int, function: Callable[..., Any], *args: Any, timeout: float = 120, device: str = "cpu"
) -> list[Any]:
    """Call ``function(world, *args)`` on every rank; the results in rank order.

    Args:
        num_ranks: how many ranks.
        function: defined at the top of a module. What it and ``args`` hold must be picklable.
        timeout: seconds after which the ranks are killed.
        device: of all ranks; they share it, and talk by gloo.

    Raises:
        RankFailure: with the traceback of the first rank that failed.
    """
    pool = _POOLS.get((num_ranks, device)) or _Pool(num_ranks, device)
    _POOLS[num_ranks, device] = pool
    try:
        return pool.call(function, args, timeout)
    except BaseException:
        end_ranks(num_ranks, device)
        raise


def free_port() -> int:
    """A port of this machine that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def end_ranks(num_ranks: int, device: str = "cpu") -> None:
    """Kill these ranks, after a test that leaves them unable to go on."""
    _POOLS.pop((num_ranks, device)).kill()


class _Pool:
    def __init__(self, num_ranks: int, device: str):
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        # Held here from the start: another pool, of another worker, could take a port that was only looked at.
        self._store = TCPStore(
            "127.0.0.1", port, is_master=True, wait_for_workers=False, master_listen_fd=listening.detach()
        )
        self._connections: list[Connection] = []
        self._processes: list[Any] = []
        # A fork may not use a GPU that its parent has seen.
        context = multiprocessing.get_context("spawn") if torch.cuda.is_available() else _CONTEXT
        for rank in range(num_ranks):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, rank, num_ranks, port, device), daemon=True)
            process.start()
            there.close()
            self._connections.append(here)
            self._processes.append(process)

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], timeout: float) -> list[Any]:
        for connection in self._connections:
            connection.send_bytes(pickle.dumps((function, args)))
        results: list[Any] = [None] * len(self._connections)
        waiting = set(range(len(self._connections)))
        deadline = time.monotonic() + timeout
        while waiting:
            for rank in sorted(waiting):
                if self._connections[rank].poll(0.001):
                    failed, result = pickle.loads(self._connections[rank].recv_bytes())
                    if failed:
                        raise RankFailure(f"rank {rank} of {len(results)}:\n{result}")
                    results[rank] = result
                    waiting.discard(rank)
            if time.monotonic() > deadline:
                raise RankFailure(f"no answer within {timeout} s from ranks: {sorted(waiting)}")
        return results

    def kill(self) -> None:
        for process in self._processes:
            process.kill()
            process.join()


@atexit.register
def _kill_all() -> None:
    for pool in _POOLS.values():
        pool.kill()


def _serve(connection: Connection, rank: int, num_ranks: int, port: int, device: str) -> None:
    torch.set_num_threads(1)
    if num_ranks > 1:
        os.environ.update(RANK=str(rank), WORLD_SIZE=str(num_ranks), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    world = fg.init("gloo", device)
    while True:
        function, args = pickle.loads(connection.recv_bytes())
        try:
            answer = (False, function(world, *args))
        except BaseException:
            answer = (True, traceback.format_exc())
        connection.send_bytes(pickle.dumps(answer))
