"""Ids among rows, and the way to the rows that they name, kept with them for as long as they do not change."""

from typing import Any

from torch import Tensor

from fullgraph.rows.routes import Away, Route
from fullgraph.rows.space import Space
from fullgraph.rows.tensor import Rows, local


def way(ids: Tensor, space: Space) -> Route:
    """The way to the rows of ``space`` at ``ids``, integer `Rows` of one dimension. Collective, unless it is known."""
    if ids.is_inference():  # nothing tells whether they have changed
        return Away.to(space, local(ids).long())
    known = ways_of(ids).get(space)
    if known is not None and known[0] == ids._version:
        return known[1]
    route = Away.to(space, local(ids).long())
    ways_of(ids)[space] = (ids._version, route)
    return route


def ways_of(ids: Tensor) -> dict[Space, tuple[int, Route]]:
    """The ways that are known for ids: for each space the version of the ids, and the way."""
    return _notes(ids).setdefault("_ways", {})


def with_same_ways(ids: Rows, like: Rows) -> Rows:
    """``ids``, which are those of ``like`` row by row, knowing the ways that ``like`` knows."""
    _notes(ids)["_ways"] = ways_of(like)
    return ids


def with_ways(ids: Tensor, like: Tensor) -> Tensor:
    """``ids``, a view of ``like`` that repeats or reshapes its ids row by row, knowing the ways that ``like`` knows."""
    if isinstance(ids, Rows) and not like.is_floating_point() and ids._is_view():
        _notes(ids)["_ways"] = ways_of(like)
    return ids


def with_ways_of_copy(ids: Rows, like: Rows) -> Rows:
    """``ids``, a copy that repeats the ids of ``like`` row by row, knowing the ways that ``like`` knows now."""
    if not (like.is_floating_point() or like.is_inference() or ids.is_inference()):
        known = {space: route for space, (version, route) in ways_of(like).items() if version == like._version}
        _notes(ids)["_ways"] = {space: (ids._version, route) for space, route in known.items()}
    return ids


def with_ways_of_part(ids: Tensor, of: Tensor, part: tuple[int, ...]) -> Tensor:
    """``ids``, a view of one ``part`` of ``of``, knowing the ways that are known for it, however often it is read."""
    if isinstance(ids, Rows) and not of.is_floating_point() and ids._is_view():
        _notes(ids)["_ways"] = _notes(of).setdefault("_ways_of_parts", {}).setdefault(part, {})
    return ids


def _notes(x: Tensor) -> dict[str, Any]:
    return x.__dict__  # pyright: ignore[reportReturnType]
