"""The ranks of a run and what they do together; every floor above receives a `World` and never asks torch for a rank.

Collectives here are few and small (gradients, batch statistics, structure when a graph is opened). The rows of the
graph move in `comm.exchange`.
"""

import datetime
import math
import os
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from fullgraph import errors
from fullgraph.comm.allocator import map_large_blocks
from fullgraph.comm.launchers import place
from fullgraph.comm.meeting import leave_group, watched_group
from fullgraph.comm.randomness import generators_state, set_generators
from fullgraph.comm.spans import Transfers, span
from fullgraph.comm.watch import Watch
from fullgraph.errors import InputError, PeerLost
from fullgraph.ops.blas import BLAS, blas

T = TypeVar("T")

DEFAULT_TIMEOUT = 60.0
_STALLED = datetime.timedelta(minutes=30)
"""How long one message may take although every rank gives signs of life, which a slow one does."""


@dataclass(kw_only=True)
class Traffic:
    """What this rank has sent since it started, in bytes of payload, and how long it waited.

    Attributes:
        rows_bytes: rows of node tensors and of their gradients, sent layer by layer.
        reduced_bytes: tensors this rank contributed to sums over all ranks (gradients, batch statistics, losses).
        setup_bytes: structure and constants sent once: boundary lists, edges, constant edge weights.
        waited_seconds: spent waiting for other ranks, for rows, sums and structure.
        walked_seconds: spent in walks over rounds, computing or waiting for rows.
        transfers: the rounds that travelled, while they are recorded (`comm.trace`); else None.
    """

    rows_bytes: int = 0
    reduced_bytes: int = 0
    setup_bytes: int = 0
    waited_seconds: float = 0.0
    walked_seconds: float = 0.0
    transfers: Transfers | None = None


@dataclass(frozen=True, kw_only=True)
class World:
    """This process's place among the ranks of a run.

    Attributes:
        rank: this rank, ``0 <= rank < num_ranks``.
        num_ranks: how many ranks there are.
        device: where this rank's tensors live.
        backend: the `torch.distributed` backend, or None for a single rank without a process group.
        traffic: counters of what this rank has sent.
        post: starts a batch of sends and receives and returns what to wait for; a slower one makes a slower network.
        watch: knows when another rank has stopped; None for a single rank.
    """

    rank: int = 0
    num_ranks: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    backend: str | None = None
    traffic: Traffic = field(default_factory=Traffic)
    post: Callable[[list[dist.P2POp]], list[dist.Work]] = field(default_factory=lambda: dist.batch_isend_irecv)
    watch: Watch | None = None

    @property
    def wire_device(self) -> torch.device:
        """Where a tensor must lie to be sent: gloo moves host memory only."""
        return torch.device("cpu") if self.backend == "gloo" else self.device

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """Sum ``tensor`` over all ranks, in place; returns it."""
        if self.num_ranks > 1:
            self.traffic.reduced_bytes += tensor.numel() * tensor.element_size()
            with self.awaiting("a sum over all ranks"):
                dist.all_reduce(tensor)
        return tensor

    def all_max(self, tensor: Tensor) -> Tensor:
        """Replace each entry of ``tensor`` by the largest on any rank, in place; returns it."""
        if self.num_ranks > 1:
            self.traffic.reduced_bytes += tensor.numel() * tensor.element_size()
            with self.awaiting("a maximum over all ranks"):
                dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return tensor

    def broadcast(self, tensor: Tensor, root: int = 0) -> Tensor:
        """Overwrite ``tensor`` with the one of rank ``root``, in place; returns it."""
        if self.num_ranks > 1:
            if self.rank == root:
                self.traffic.setup_bytes += tensor.numel() * tensor.element_size()
            with self.awaiting(f"a tensor of rank {root}"):
                dist.broadcast(tensor, root)
        return tensor

    def gather_objects(self, value: Any) -> list[Any]:
        """Every rank's ``value`` (picklable, small), in rank order, on every rank."""
        if self.num_ranks == 1:
            return [value]
        values: list[Any] = [None] * self.num_ranks
        with self.awaiting("an object of every rank"):
            dist.all_gather_object(values, value)
        return values

    def together(self, step: Callable[[], T]) -> T:
        """Run a local ``step`` on every rank; if it fails on one rank, every rank raises that same error.

        Raises:
            FullgraphError: the error of the lowest rank on which ``step`` raised one, on every rank. Its text names
                the rank unless all ranks failed alike.
        """
        result, failure = None, None
        try:
            result = step()
        except Exception as error:
            known = errors.ours(error)
            if known is None:
                raise
            failure = (type(known).__name__, str(known))
        failures = self.gather_objects(failure)
        failed = [(rank, f) for rank, f in enumerate(failures) if f is not None]
        if failed:
            rank, (kind, text) = failed[0]
            everywhere = len(set(failures)) == 1
            raise getattr(errors, kind)(text if everywhere else f"rank {rank}: {text}")
        return result  # pyright: ignore[reportReturnType]

    def agree(self, what: str, value: object) -> None:
        """Check that all ranks hold the same ``value``.

        Raises:
            GraphMismatch: on every rank, naming the first rank whose value differs from rank 0's.
        """
        values = self.gather_objects(value)
        for rank, other in enumerate(values):
            if other != values[0]:
                raise errors.GraphMismatch(
                    f"all ranks must use the same {what}; rank 0 has {values[0]!r} but rank {rank} has: {other!r}"
                )

    @contextmanager
    def awaiting(self, what: str, doing: str = "waiting for"):
        """Turn the backend's failure while waiting for other ranks into a `PeerLost` that says who has stopped."""
        if self.watch is None:  # a single rank waits for nobody
            yield
            return
        self.watch.refuse()
        start = time.perf_counter()
        self.watch.operation += 1
        self.watch.waiting = what
        try:
            with span(f"{doing} {what}"):
                yield
            self.traffic.waited_seconds += time.perf_counter() - start
        except RuntimeError as error:
            raise PeerLost(self.watch.reason(error)) from error
        finally:
            self.watch.waiting = ""

    @contextmanager
    def during(self, place: str):
        """What happens in the block has this name in a trace, and in what is said if a rank stops meanwhile."""
        if self.watch is not None:
            self.watch.place = place
        with span(place):
            yield

    def close(self) -> None:
        """Leave the process group; a single rank has nothing to leave."""
        if self.watch is not None:
            leave_group(self.watch)


def init(
    backend: str | None = None,
    device: str | torch.device | None = None,
    timeout: float = DEFAULT_TIMEOUT,
) -> World:
    """Join the run that torchrun, Slurm's ``srun`` or an MPI's ``mpirun`` started, or make a run of one rank without.

    For ``mpirun`` outside of a Slurm job, ``MASTER_ADDR`` and ``MASTER_PORT`` must say where ranks meet.

    All ranks go on with the random states of rank 0: they run one program, which may not have seeded anything. They
    multiply by the same library, too (`ops.blas`).

    Args:
        backend: a backend that `torch.distributed` knows; default ``gloo`` for the CPU, ``nccl`` for CUDA devices,
            torch's own default for any other device.
        device: default ``cpu``. ``cuda`` without a number gives each rank of a machine a GPU of its own, that of its
            ``LOCAL_RANK``; where there are fewer GPUs than ranks, backend ``gloo`` lets them share. ``auto`` is
            ``cuda`` where torch sees a GPU, with ``gloo`` where ranks must share and no backend is given, else ``cpu``.
        timeout: seconds without a sign of life from a rank after which all others stop, however long they compute.

    Raises:
        InputError: if the device is not there, ranks outnumber GPUs, the environment is incomplete or names no library,
            nobody answers at its address, or ranks have different backends.
        PeerLost: if a rank does not join within ten minutes.
    """
    map_large_blocks()
    if not 1 <= timeout < math.inf:
        raise InputError(f"timeout must be at least 1 second, and finite: {timeout}")
    if BLAS in os.environ:
        blas()  # before anybody waits for this rank
    found = place(os.environ)
    os.environ.update(found)
    chosen, backend = _placed(device, backend)
    if not found:
        return World(device=chosen)
    if backend is None:
        backend = "gloo" if chosen.type == "cpu" else dist.get_default_backend_for_device(chosen.type)
    if backend not in dist.Backend.backend_list:
        raise InputError(f"backend must be one of {', '.join(dist.Backend.backend_list)}: {backend!r}")
    watch = watched_group(backend, timeout, _STALLED)
    world = World(rank=watch.rank, num_ranks=watch.num_ranks, device=chosen, backend=backend, watch=watch)
    of_zero = (generators_state(chosen), blas()) if world.rank == 0 else None
    (generators, os.environ[BLAS]), *_ = world.gather_objects(of_zero)
    set_generators(generators, chosen)
    return world


def _placed(device: str | torch.device | None, backend: str | None) -> tuple[torch.device, str | None]:
    """Where this rank's tensors live, and the backend that this asks for, None for any."""
    sees_gpu, is_auto = torch.cuda.is_available(), device == "auto"
    try:
        chosen = torch.device(("cuda" if is_auto and sees_gpu else "cpu") if is_auto or device is None else device)
    except RuntimeError as error:
        raise InputError(f"device must be one that torch knows, such as cpu or cuda:0: {device!r}") from error
    if chosen.type == "cuda":
        if not sees_gpu:
            raise InputError(f"torch sees no CUDA device here; use --device cpu: {device!r}")
        if chosen.index is None:
            place, num_gpus = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
            num_here = max(int(os.environ.get("LOCAL_WORLD_SIZE", 1)), place + 1)
            if num_here > num_gpus and is_auto and backend is None:
                backend = "gloo"
            if num_here > num_gpus and backend != "gloo":
                raise InputError(
                    f"{num_here} ranks on this machine need a GPU each, but torch sees {num_gpus}; start {num_gpus} "
                    f"here, or let them share with --backend gloo, or use --device cpu: {device!r}"
                )
            chosen = torch.device("cuda", place % num_gpus)
        torch.cuda.set_device(chosen)
    return chosen, backend
