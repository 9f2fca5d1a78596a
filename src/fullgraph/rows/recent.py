"""A cache within a budget: what was made lately stays, the oldest goes first.

Programs derive the same few things in every step, and some make new ones each time, which must not pile up. Sizes and
the budget count rows of the whole graph, so that all ranks forget the same at the same time: to make a thing anew may
take all of them.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Recent(Generic[Made]):
    """Things by key; each has a size, and all together at most ``budget``, or one of them alone."""

    def __init__(self, budget: int):
        self._budget, self._total = budget, 0
        self._made: OrderedDict[Hashable, tuple[int, Made]] = OrderedDict()

    def get(self, key: Hashable) -> Made | None:
        """The thing of this key, which is then the newest; None if there is none."""
        if key not in self._made:
            return None
        self._made.move_to_end(key)
        return self._made[key][1]

    def put(self, key: Hashable, made: Made, size: int) -> Made:
        """Keep it, and let go of the oldest ones that no longer fit."""
        self._total += size - self._made.pop(key, (0, None))[0]
        self._made[key] = (size, made)
        while self._total > self._budget and len(self._made) > 1:
            _, (freed, _) = self._made.popitem(last=False)
            self._total -= freed
        return made
