"""In which mode the engine walks, and its other settings, which every floor above it shares."""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from fullgraph.errors import InputError

Mode = Literal["sar", "keep", "halo"]
MODES: tuple[Mode, ...] = get_args(Mode)
WireDtype = Literal["float32", "bfloat16", "int8"]
WIRE_DTYPES: tuple[WireDtype, ...] = get_args(WireDtype)
Recompute = Literal["none", "elementwise", "layer"]
RECOMPUTES: tuple[Recompute, ...] = get_args(Recompute)


def option(default: Any, help: str) -> Any:
    """A setting that the command line offers, and what it says of it."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """How rows from other ranks are fetched, held and fetched again.

    Attributes:
        mode: ``sar`` fetches one round at a time and fetches again in backward where needed; ``keep`` fetches one
            round at a time and keeps the rows for backward; ``halo`` fetches all boundary rows at once.
        prefetch: rounds in flight beside the one being computed (0: fetch, compute, fetch, …).
        round_rows: most rows that one round brings from one rank. A round of 32,768 rows of 256 float32 is 32 MiB.
            Fewer, where a walk would have no more than ``prefetch + 1`` rounds, all of them in flight at once.
        chunk_edges: most edges that a layer runs its own code on at a time: of a block, or of complete neighbourhoods.
        wire_dtype: how float32 rows travel: ``float32`` whole; ``bfloat16`` in half the bytes, rounded to 8 bits;
            ``int8`` in a quarter, rounded at random to multiples of a scale per row, which changes what is learned.
        recompute: what backward makes again instead of keeping it. ``none``: nothing; ``elementwise``: norms,
            activations and dropout; ``layer``: the projections of attention layers too, so that one tensor of rows
            stays for each layer.
        held_mib: most MiB of other ranks' rows of one tensor that never changes, such as the input features, that a
            rank holds where they would travel anew in every epoch, but not in mode ``sar``; and of a sum of such rows
            that is more than twice as wide as what a layer makes of it. 0: none.

    Raises:
        InputError: on an unknown mode, wire_dtype or recompute, a negative prefetch or held_mib, or a round without
            rows.
    """

    mode: Mode = option("sar", "how remote rows are held: sar, keep or halo")
    prefetch: int = option(1, "rounds of rows in flight beside the one being computed")
    round_rows: int = option(32_768, "most rows that one round brings from one rank")
    chunk_edges: int = option(65_536, "most edges at a time for layers without a walk of their own")
    wire_dtype: WireDtype = option(
        "float32", "how float32 rows travel between ranks: float32, bfloat16 or int8 (lossy)"
    )
    recompute: Recompute = option(
        "elementwise", "what backward makes again instead of keeping it: none, elementwise or layer"
    )
    held_mib: int = option(
        64, "most MiB of unchanging rows of other ranks that are held, per tensor, but not in mode sar"
    )

    def __post_init__(self) -> None:
        for name, choices in (("mode", MODES), ("wire_dtype", WIRE_DTYPES), ("recompute", RECOMPUTES)):
            if getattr(self, name) not in choices:
                raise InputError(f"{name} must be one of {', '.join(choices)}: {getattr(self, name)!r}")
        for name, unit in (("prefetch", "rounds"), ("held_mib", "MiB")):
            if getattr(self, name) < 0:
                raise InputError(f"{name} must be 0 or more {unit}: {getattr(self, name)}")
        for name, unit in (("round_rows", "row"), ("chunk_edges", "edge")):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1 {unit}: {getattr(self, name)}")
