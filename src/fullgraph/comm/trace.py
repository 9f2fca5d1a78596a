"""What every rank did and what travelled meanwhile, as one picture: a trace that Perfetto and chrome://tracing show.

Each rank records itself with `torch.profiler`, which knows nothing of messages under way nor of other ranks. So the
transfers are added as rows of their own, and rank 0 puts all ranks on one axis of time, a process each.
"""

import json
import os
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.profiler import profile

from fullgraph.comm.exchange import swap
from fullgraph.comm.spans import Transfer, Transfers
from fullgraph.comm.world import World
from fullgraph.errors import InputError
from fullgraph.replacing import replace_text

Event = dict[str, Any]

FIRST_LANE = 1 << 30
"""Above the ids that a system gives its threads."""

_MEETINGS = 8
_MESSAGES = ("gloo:send", "gloo:recv")


def trace(path: str | Path, world: World) -> AbstractContextManager[None]:
    """Record what all ranks do inside a ``with`` block, and write it as one file for https://ui.perfetto.dev.

        with fg.trace("trace.json", data.world):
            train_one_epoch()

    Collective, both the call and the block's two ends. The first epochs build what later ones use, so trace a later
    one. Nothing is written if the block raises an error.

    Args:
        path: the file, in Chrome's trace format; rank 0 writes it, whole or not at all, and replaces what is there.
        world: the ranks.

    Raises:
        InputError: on every rank and before anything is recorded, if rank 0 cannot write ``path``.
    """
    path = Path(path)
    world.together(lambda: _try_to_write(path) if world.rank == 0 else None)
    return _recording(path, world)


def _try_to_write(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"a trace is one file, but there is a folder of this name; give another path: {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise InputError(f"the trace cannot be written ({error.strerror}); give another path: {path}") from error


@contextmanager
def _recording(path: Path, world: World) -> Iterator[None]:
    start = _start(world)
    transfers = Transfers()
    if world.backend == "gloo":  # others' messages are ordered on the device, where torch's profiler sees them
        world.traffic.transfers = transfers
    try:
        with profile() as profiler:
            yield
    finally:
        world.traffic.transfers = None
    events = [*_events(profiler, world, start), *_rows_of_transfers(transfers.complete, world.rank, start)]
    packed = torch.frombuffer(bytearray(zlib.compress(json.dumps(events).encode())), dtype=torch.uint8)
    packed = packed.to(world.device)
    arrived = swap(world, [packed if rank == 0 else packed[:0] for rank in range(world.num_ranks)])
    if world.rank == 0:
        for other in arrived[1:]:
            events += json.loads(zlib.decompress(other.cpu().numpy().tobytes()))
        replace_text(path, json.dumps({"displayTimeUnit": "ms", "traceEvents": events}))


def _start(world: World) -> int:
    """Now, on all ranks: one moment of rank 0, by this rank's clock, in nanoseconds since 1970.

    No rank leaves a meeting before all have come, so each one's leaving by its own clock bounds the others' coming.
    Where that leaves room for equal clocks, as on one machine, they are equal.
    """
    meetings = []
    for _ in range(_MEETINGS):
        came = time.time_ns()
        world.gather_objects(None)
        meetings.append((came, time.time_ns()))
    of_zero = world.gather_objects(meetings)[0]
    least = max(came - left_zero for (came, _), (_, left_zero) in zip(meetings, of_zero, strict=True))
    most = min(left - came_zero for (_, left), (came_zero, _) in zip(meetings, of_zero, strict=True))
    ahead = 0 if least <= 0 <= most else (least + most) // 2
    return of_zero[-1][1] + ahead


def _events(profiler: profile, world: World, start: int) -> list[Event]:
    """What torch recorded: this process becomes ``rank``, its devices other ids that no other rank has."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(file))
        recorded = json.loads(file.read_text())
    events, began = [], (recorded["baseTimeNanoseconds"] - start) / 1000
    for event in recorded["traceEvents"]:
        pid = event["pid"]
        if not isinstance(pid, int):
            continue  # the profiler's notes on itself
        if event["name"] in _MESSAGES:
            continue  # under way, so drawn among what is computed they would cross it; our own rows show them
        event["pid"] = world.rank if pid == os.getpid() else world.rank + world.num_ranks * (pid + 1)
        event["ts"] += began
        if "id" in event:  # of an arrow, from forward to backward
            event["id"] = event["id"] * world.num_ranks + world.rank
        if event["name"] == "process_name":
            event["args"]["name"] = f"rank {world.rank}"
        elif event["name"] == "process_sort_index":
            event["args"]["sort_index"] = event["pid"]
        events.append(event)
    return events


def _rows_of_transfers(transfers: list[Transfer], rank: int, start: int) -> list[Event]:
    """As many rows as there were transfers under way at once: spans of one row may not overlap."""
    events: list[Event] = []
    ends: list[int] = []
    for transfer in sorted(transfers, key=lambda each: each.posted):
        free = [lane for lane, end in enumerate(ends) if end <= transfer.posted]
        lane = free[0] if free else len(ends)
        ends[lane : lane + 1] = [transfer.complete]
        events.append(
            {
                "ph": "X",
                "cat": "transfer",
                "name": transfer.what,
                "pid": rank,
                "tid": FIRST_LANE + lane,
                "ts": (transfer.posted - start) / 1000,
                "dur": (transfer.complete - transfer.posted) / 1000,
            }
        )
    for lane in range(len(ends)):
        of_row = {"ph": "M", "pid": rank, "tid": FIRST_LANE + lane}
        events.append({**of_row, "name": "thread_name", "args": {"name": "rows under way"}})
        events.append({**of_row, "name": "thread_sort_index", "args": {"sort_index": FIRST_LANE + lane}})
    return events
