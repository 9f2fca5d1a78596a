"""Which combinations of settings are tested: enough that every two values meet, or with ``--whole`` all of them.

Most faults need one setting or two together, and a test for each pair finds them at a fraction of the product's time.
"""

import itertools
from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import pytest

Run = TypeVar("Run")


def combinations(at_once: int = 2, /, **values: Collection[Any]) -> pytest.MarkDecorator:
    """Marks a test that is to run with these values of its arguments, any ``at_once`` of which meet in some run."""
    return pytest.mark.combinations(at_once, values)


def chosen(at_once: int, values: dict[str, Collection[Any]], *, whole: bool) -> list[tuple[Any, ...]]:
    """Of the product of ``values`` all rows, or few in which any ``at_once`` values meet: the same in every run.

    One row after another is taken that has the most meetings still missing. (allpairspy leaves some triples out.)
    """
    rows = list(itertools.product(*values.values()))
    if whole:
        return rows
    missing = {row: set(itertools.combinations(enumerate(row), at_once)) for row in rows}
    few = set()
    while any(missing.values()):
        most = max(rows, key=lambda row: len(missing[row]))
        few.add(most)
        met = missing[most].copy()
        for meetings in missing.values():
            meetings -= met
    return [row for row in rows if row in few]


def turn(number: int, groups: Sequence[Sequence[Run]], *, whole: bool) -> list[Run]:
    """The runs of the case with this number: one of ``groups``, which cases take in turn; or those of all."""
    return list(dict.fromkeys(itertools.chain(*groups)) if whole else groups[number % len(groups)])
