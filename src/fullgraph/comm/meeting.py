"""How ranks find each other: the store they meet in, on no more addresses than they need, and torch's process group.

Torch left to itself has rank 0 listen on all interfaces of its machine.
"""

import datetime
import os
import socket
import threading

import torch.distributed as dist
from torch.distributed import PrefixStore, TCPStore  # pyright: ignore[reportPrivateImportUsage]

from fullgraph.comm.lifeline import end_with
from fullgraph.comm.watch import Watch, sockets
from fullgraph.errors import InputError

LAUNCHER = "FULLGRAPH_LAUNCHER"
"""The environment variable by which a rank knows that `comm.launch` has started it; its process."""
WATCH = "fullgraph"
"""Where in the store signs of life are, before the number of the attempt."""


def watched_group(backend: str, timeout: float, stalled: datetime.timedelta) -> Watch:
    """Torch's default process group, joined if it has not been yet, and watched. Collective.

    Args:
        backend: of `torch.distributed`.
        timeout: seconds of silence after which a rank counts as stopped.
        stalled: how long one message may take although all ranks live.

    Raises:
        InputError: nobody answers at ``MASTER_ADDR`` and ``MASTER_PORT``, rank 0 cannot listen there, or ranks have
            different backends.
        PeerLost: a rank did not join.
    """
    for each in threading.enumerate():  # a process has one default group, and so one watch, which is a thread
        if isinstance(each, Watch):
            return each
    rank, num_ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if "TORCHELASTIC_RUN_ID" in os.environ:
        end_with(os.getppid())
    if os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]:
        for each in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(each, "lo")
    hosts = rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" and not dist.is_initialized()
    store, attempt = _store(hosts), os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)
    own_connection = TCPStore(store.host, store.port, is_master=False, wait_for_workers=False)
    seen = PrefixStore(f"{WATCH}/{attempt}", own_connection)
    tells = LAUNCHER not in os.environ
    watch = Watch(store=seen, rank=rank, num_ranks=num_ranks, timeout=timeout, hosts=hosts, tells=tells)
    seen.set(f"backend/{rank}", backend)
    watch.begin()
    first, *others = (each.decode() for each in seen.multi_get([f"backend/{rank}" for rank in range(num_ranks)]))
    for rank_of_other, other in enumerate(others, start=1):
        if other != first:
            raise InputError(
                "all ranks must use the same backend, which follows from the device where it is not given; rank 0 has "
                f"{first!r} but rank {rank_of_other} has: {other!r}"
            )
    if not dist.is_initialized():
        before = sockets(store.port)
        shared = PrefixStore(f"torch/{attempt}", store)
        dist.init_process_group(backend, store=shared, rank=rank, world_size=num_ranks, timeout=stalled)
        watch.links = sockets(store.port) - before
    return watch


def leave_group(watch: Watch) -> None:
    """Leave torch's default process group in good order: the others need not miss this rank."""
    watch.leave()
    if dist.is_initialized():
        dist.destroy_process_group()


def _store(hosts: bool) -> TCPStore:
    """The run's store, which rank 0 holds on the address of ``MASTER_ADDR`` alone unless a launcher holds it."""
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    if not hosts:
        try:
            return TCPStore(host, port, is_master=False, wait_for_workers=False)
        except dist.DistError as error:
            raise InputError(
                f"nobody answers where ranks should meet; give the address of rank 0's machine, and a port that a "
                f"firewall lets through, in MASTER_ADDR and MASTER_PORT: {host}:{port}"
            ) from error
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address[:2], family=family)
    except OSError as error:
        raise InputError(
            f"rank 0 cannot listen where ranks should meet ({error.strerror}); give an address of its machine and a "
            f"free port in MASTER_ADDR and MASTER_PORT: {host}:{port}"
        ) from error
    port = listening.getsockname()[1]
    return TCPStore(host, port, is_master=True, wait_for_workers=False, master_listen_fd=listening.detach())
