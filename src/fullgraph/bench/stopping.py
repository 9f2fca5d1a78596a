"""When a run of a published experiment is over and which epoch counts, as the papers' own code has it.

"Best validation epoch" would be the simple alternative; it chooses among more epochs than the papers did.
"""

import statistics
from abc import ABC, abstractmethod
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Scores:
    """One epoch in evaluation mode, after its step.

    Attributes:
        val_loss: mean cross-entropy over the validation nodes.
        penalty: the weight decay's share of the loss.
        val_accuracy, test_accuracy, test_macro_f1: 0 to 1.
    """

    val_loss: float
    penalty: float
    val_accuracy: float
    test_accuracy: float
    test_macro_f1: float = 0.0


@dataclass(kw_only=True)
class Stopping(ABC):
    """Looks at every epoch's scores; ``chosen`` are those of the epoch that counts so far."""

    chosen: Scores | None = None

    @abstractmethod
    def is_over(self, scores: Scores) -> bool:
        """Take in the next epoch; True if it is the last."""


@dataclass(kw_only=True)
class Window(Stopping):
    """Kipf & Welling: over when the penalised validation loss is above its mean of the 10 epochs before; last epoch."""

    length: int = 10
    _losses: list[float] = field(default_factory=list)

    def is_over(self, scores: Scores) -> bool:
        self.chosen = scores
        before = self._losses[-self.length :]
        self._losses.append(scores.val_loss + scores.penalty)
        return len(self._losses) > self.length + 1 and self._losses[-1] > statistics.fmean(before)


@dataclass(kw_only=True)
class Lowest(Stopping):
    """Over when the lowest validation loss is 30 epochs old; that epoch counts, or the only one that was scored."""

    epochs: int = 30
    _waited: int = 0

    def is_over(self, scores: Scores) -> bool:
        self._waited += 1
        if self.chosen is None or scores.val_loss < self.chosen.val_loss:
            self.chosen, self._waited = scores, 0
        return self._waited == self.epochs


@dataclass(kw_only=True)
class Patience(Stopping):
    """Veličković: over after 100 epochs in which neither validation loss nor accuracy reached its best.

    The epoch that counts is the last one that reached both.
    """

    epochs: int = 100
    _lowest_loss: float = float("inf")
    _highest_accuracy: float = 0.0
    _waited: int = 0

    def is_over(self, scores: Scores) -> bool:
        is_lowest = scores.val_loss <= self._lowest_loss
        is_highest = scores.val_accuracy >= self._highest_accuracy
        if is_lowest and is_highest:
            self.chosen = scores
        self._lowest_loss = min(self._lowest_loss, scores.val_loss)
        self._highest_accuracy = max(self._highest_accuracy, scores.val_accuracy)
        self._waited = 0 if is_lowest or is_highest else self._waited + 1
        return self._waited == self.epochs
