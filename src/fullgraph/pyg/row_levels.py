"""Which rows of a pruned graph a tensor holds, followed through a model's forward.

The number of its rows does not say it: two levels may have equally many on one rank and not on another, and ranks that
judged by it would go different ways. Layers say of which level their results are, and what is computed from rows of one
level, row by row, is of that level.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from fullgraph.engine import Recipes
from fullgraph.errors import UnsupportedOperation
from fullgraph.pyg.levels import Levels
from fullgraph.pyg.rank_graph import RankGraph


class RowLevels:
    """The levels of tensors while one model runs on a pruned graph.

    Attributes:
        levels: which rows there are.
        reached: the last level that a layer has computed.
        is_paused: whether a layer is at work, on rows of two levels and on rows of other ranks.
    """

    def __init__(self, levels: Levels, recipes: Recipes | None):
        self.levels, self._recipes = levels, recipes
        self.reached = 0
        self._known = WeakTensorKeyDictionary()
        self.is_paused = False

    def of(self, rows: Any) -> int | None:
        """The level of a tensor's rows; None if it is not known to have a row for each of a level."""
        return self._known.get(rows) if isinstance(rows, Tensor) else None

    def put(self, rows: Tensor, level: int) -> Tensor:
        """Note that a tensor's rows are those of ``level``."""
        self._known[rows] = level
        self.reached = max(self.reached, level)
        return rows

    def narrowed(self, rows: Tensor, level: int) -> Tensor:
        """Those of a tensor's rows that belong to ``level``, which is its own or a later one."""
        own = self._known[rows]
        if len(self.levels.rows[own]) == len(self.levels.rows[level]):
            return rows
        positions = self.levels.positions(own, level)
        chosen = rows.index_select(0, positions)
        if self._recipes is not None and self._recipes.knows(rows):
            self._recipes.note(chosen, rows, lambda rows, _: rows.index_select(0, positions), in_place=False)
        return chosen

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While a layer is at work, nothing is followed."""
        before, self.is_paused = self.is_paused, True
        try:
            yield
        finally:
            self.is_paused = before

    def follow(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], graph: RankGraph) -> Any:
        """Call a function of torch on rows of one level; of several, on the rows that the last of them has.

        Raises:
            UnsupportedOperation: if it would write fewer rows into a tensor of more.
        """
        known = [(t, self.of(t)) for t in tree_leaves((args, kwargs))]
        levels = {id(t): level for t, level in known if level is not None}
        if not levels:
            return func(*args, **kwargs)
        level = max(levels.values())
        if min(levels.values()) < level:
            if _writes_to_first(func) and levels.get(id(args[0]), level) < level:
                raise UnsupportedOperation(
                    "rows of an earlier layer of a pruned model cannot be changed in place by those of a later one, "
                    f"which has fewer rows; make a new tensor instead (x = x + h): {func.__name__}"
                )
            args, kwargs = tree_map(lambda t: self.narrowed(t, level) if id(t) in levels else t, (args, kwargs))
        with graph.rows_are(self.levels.node_ids[level], None, alone=False):
            out = func(*args, **kwargs)
        for result in tree_leaves(out):
            if type(result) is Tensor and result.dim() and len(result) == len(self.levels.rows[level]):
                self.put(result, level)
        return out


def _writes_to_first(func: Callable[..., Any]) -> bool:
    name = func.__name__
    return name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
