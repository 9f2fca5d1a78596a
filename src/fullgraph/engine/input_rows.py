"""Input rows of an attention layer travel in place of what the layer makes of them, where that is no narrower.

A rank that receives them projects them itself, one round at a time. That is a few more products, and what travels and
waits to be used is as wide as the input; after a ReLU half of it is zeros, which need not travel (`comm.wire`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from fullgraph.comm import Routes, fetch
from fullgraph.engine.held import Sources
from fullgraph.engine.plan import Plan
from fullgraph.engine.streamed import StreamedRows

_Rounds = Iterator[tuple[int, tuple[Tensor, ...]]]


@dataclass(frozen=True)
class InputRows:
    """Rows to send, and what follows from them.

    Attributes:
        rows: ``[num_own, F]``.
        sources: as in `HeldRows`.
    """

    rows: Tensor
    sources: Sources

    def rounds(self, routes: Routes) -> _Rounds:
        """What `comm.fetch` would bring, had the source tensors travelled; the first rounds are under way."""
        return self._made(fetch(routes, (self.rows,), packs=True, purpose="attention, forward, input rows"))

    def _made(self, incoming: _Rounds) -> _Rounds:
        for number, (rows,) in incoming:
            made = self.sources(rows)
            del rows  # while what was made of them is used
            yield number, made
            del made  # before the next round is posted


def input_rows(x: Tensor, plan: Plan, sources: Sources, num_columns: int) -> InputRows | None:
    """Rows to send in place of their ``sources``, if these are no narrower and mode ``halo`` does not ask for them.

    Args:
        x: ``[num_own, F]``.
        plan: the edges.
        sources: as in `HeldRows`.
        num_columns: how many numbers per row ``sources`` gives.
    """
    config = plan.halo.config
    may = not isinstance(x, StreamedRows) and x.dim() == 2 and config.mode != "halo" and plan.halo.world.num_ranks > 1
    return InputRows(x.detach(), sources) if may and x.size(1) <= num_columns else None
