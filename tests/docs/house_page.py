"""Writes docs/house.md from the floors in pyproject.toml and the first sentence of each file.

Run it with ``python -m tests.docs.house_page``.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "house.md"
SOURCE = ROOT / "src" / "fullgraph"
TEXT = """# The house

<!-- Generated: python -m tests.docs.house_page -->

For those who change the code: what stands where. Imports go downward only, what stands on one floor does not know each
other, and no two files import each other; `make lint` checks all three.

What the words mean: a *row* is what a node or an edge has in a tensor. A *block* is the edges from some rows into
others, as kernels take them. A layer *walks*: it visits the block of its own rows and, *round* by round, those of rows
that come from other ranks. A kernel's *twin* computes the same in plain torch, and defines it.

## Floors

```
{floors}
```

Within `engine` and `pyg` the rooms have floors too:

```
{engine}
```

```
{pyg}
```

## Three ways through it

A `SAGEConv` of a prepared model, given rows of this rank: {sage}.

A `GATConv`: {gat}.

A layer with a message of its own: {own}.

## Where something new goes

| new | is |
| --- | --- |
{new}

## Files

{files}
"""
SAGE = """
    pyg/rules/aggregating.py chooses the walk
    pyg/general/border.py turns the global view's rows into plain tensors
    engine/neighbours/linear_sum.py puts the linear layer where fewer columns travel
    engine/walks/plan.py has the blocks of this rank's edges
    engine/walks/walk.py visits them while rows are under way
    comm/exchange.py moves those
    ops/sums.py adds them up
"""
GAT = """
    pyg/rules/attention.py projects the rows and scores each node
    engine/attention/attend.py walks with an online softmax
    engine/attention/scores.py says which kernels
    ops/attention_gat.py is what they compute
"""
OWN = """
    pyg/general/any_layer.py finds out how its code can run
    pyg/general/arguments.py sorts what it is given by what the rows are
    engine/messages/by_block.py forms some messages at a time
    engine/messages/statistics.py keeps what the aggregation needs of them
    engine/backward/replay.py runs the code again in backward as it ran
"""
NEW = {
    "a kind of attention": "engine/attention/scores.py, its kernel in ops/, its layer in pyg/rules/attention.py",
    "a layer that sums its neighbours": "pyg/rules/aggregating.py",
    "a mode": "config.py; what a layer walks over in it engine/walks/plan.py",
    "a format of rows on the wire": "comm/wire.py",
    "a norm": "nothing, if it is made of torch's functions; a function of torch rows/composites.py",
    "a function of torch on rows": "rows/functions.py, or the file of its kind beside it",
    "an aggregation of messages": "pyg/general/decomposed.py, of the statistics in engine/messages/statistics.py",
    "something that is remembered between epochs": "engine/memo.py",
    "a partitioner": "partitioners/",
    "a data set": "datasets/",
    "a task": "train/tasks/",
    "a measurement": "bench/",
}


def house_page() -> str:
    """The page as it should be."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    floors = {c["containers"][0].partition(".")[2]: c["layers"] for c in contracts if c["type"] == "layers"}
    rooms = [name for name in _names(floors[""]) if (SOURCE / name).is_dir()]
    return TEXT.format(
        floors=_drawn(floors[""], ""),
        engine=_drawn(floors["engine"], "engine"),
        pyg=_drawn(floors["pyg"], "pyg"),
        sage=_way(SAGE),
        gat=_way(GAT),
        own=_way(OWN),
        new="\n".join(f"| {what} | {_linked(where)} |" for what, where in NEW.items()),
        files="\n".join([*_listed_alone(), *(part for room in rooms for part in _listed(SOURCE / room)), *_kernels()]),
    )


def _names(layers: list[str]) -> list[str]:
    return [name for layer in layers for name in layer.split(" | ")]


def _drawn(layers: list[str], within: str) -> str:
    """One line per floor; of what stands alone on it, why it is there."""
    width = max(map(len, layers)) + 2
    lines = []
    for layer in layers:
        place = SOURCE / within / layer
        path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        lines.append(f"{layer:{width}}{_first_sentence(path) if path.is_file() else ''}".rstrip())
    return "\n".join(lines)


def _way(steps: str) -> str:
    return ",\n".join(_linked(step.strip()) for step in steps.strip().splitlines())


def _linked(text: str) -> str:
    """With each path in it as code; it must exist."""

    def check(found: re.Match[str]) -> str:
        assert (SOURCE / found[0]).exists(), found[0]
        return f"`{found[0]}`"

    return re.sub(r"[a-z_]+(/[a-z_]+)*(/|\.py)", check, text)


def _listed_alone() -> Iterator[str]:
    """The files that are rooms of their own."""
    yield "### fullgraph\n\n| file | |\n| --- | --- |"
    for path in sorted(SOURCE.glob("*.py")):
        yield f"| `{path.name}` | {_first_sentence(path)} |"
    yield ""


def _kernels() -> Iterator[str]:
    """The sources of the extension, by the first sentence of their banners."""
    yield "### csrc\n\nThe C++ kernels.\n\n| file | |\n| --- | --- |"
    for path in sorted((ROOT / "csrc").iterdir()):
        banner = re.match(r"(// .*\n)+", path.read_text())
        assert banner is not None, path
        yield f"| `{path.name}` | {_first_of(banner[0].replace('// ', ' '))} |"


def _listed(room: Path) -> Iterator[str]:
    """A room, its files, and the rooms within."""
    name = room.relative_to(SOURCE).as_posix()
    yield f"### {name}\n\n{_first_sentence(room / '__init__.py')}\n\n| file | |\n| --- | --- |"
    for path in sorted(room.glob("*.py")):
        if path.name != "__init__.py":
            yield f"| `{path.name}` | {_first_sentence(path)} |"
    yield ""
    for inner in sorted(path.parent for path in room.glob("*/__init__.py")):
        yield from _listed(inner)


def _first_sentence(path: Path) -> str:
    """Of a file's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text()))
    assert text is not None, path
    return _first_of(text.split("\n\n")[0])


def _first_of(paragraph: str) -> str:
    """The first sentence, on one line of a table."""
    paragraph = " ".join(paragraph.split())
    return re.split(r"(?<=\.) (?=[A-Z`])", paragraph)[0].replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(house_page())
