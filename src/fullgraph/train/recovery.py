"""What becomes of an epoch that is not finite: it ends the run, is left out, or the run goes back and slows down."""

from collections import Counter
from pathlib import Path

from fullgraph.comm.world import World
from fullgraph.errors import NotFinite
from fullgraph.train import checkpoint as checkpoints
from fullgraph.train.config import TrainConfig
from fullgraph.train.state import TrainingState

MOST_REWINDS = 3
"""How often a run goes back to the same checkpoint, each time with half the learning rate."""
MOST_SKIPS = 10
"""How many epochs in a row may be skipped."""


class Recovery:
    """Does what ``config.on_nonfinite`` says, alike on all ranks."""

    def __init__(self, config: TrainConfig, run: Path, world: World):
        self._way, self._run, self._world = config.on_nonfinite, run, world
        self._in_a_row = 0
        self._rewinds: Counter[int] = Counter()

    def was_finite(self) -> None:
        """An epoch went well."""
        self._in_a_row = 0

    def go_on(self, state: TrainingState, error: NotFinite) -> bool:
        """Prepare for the next epoch after one that was not. Collective.

        Returns:
            Whether this one counts, as skipped.

        Raises:
            NotFinite: it should stop, or has tried for long enough.
        """
        self._in_a_row += 1
        if self._way == "stop" or self._in_a_row > MOST_SKIPS:
            raise error
        if self._way == "skip":
            state.epoch += 1
            return True
        checkpoint, _ = checkpoints.load_everywhere(self._run, self._world)
        self._rewinds[checkpoint.epoch] += 1
        times = self._rewinds[checkpoint.epoch]
        if times > MOST_REWINDS:
            raise NotFinite(f"{error}; going back {MOST_REWINDS} times did not help, to epoch: {checkpoint.epoch}")
        state.restore(checkpoint)
        state.slow_down(0.5**times)
        return False
