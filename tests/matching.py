"""The fewest rows that can carry edges from one rank to another, counted in another way than the engine does."""

from collections.abc import Iterable


def smallest_cover(edges: Iterable[tuple[int, int]]) -> int:
    """The size of a smallest vertex cover of a bipartite graph: of its largest matching, grown path by path."""
    neighbours: dict[int, set[int]] = {}
    for src, dst in edges:
        neighbours.setdefault(src, set()).add(dst)
    partner: dict[int, int] = {}

    def grow(src: int, seen: set[int]) -> bool:
        for dst in neighbours[src] - seen:
            seen.add(dst)
            if dst not in partner or grow(partner[dst], seen):
                partner[dst] = src
                return True
        return False

    return sum(grow(src, set()) for src in neighbours)
