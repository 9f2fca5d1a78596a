"""Does a test notice when the code is wrong? Changes one place at a time and runs the tests; by hand, not in CI.

    pip install cosmic-ray
    python -m tests.mutations --count 150 --seed 0

One change is drawn per place, and places are drawn from all of those that change what the code does: annotations,
docstrings and the texts of errors do not count. A change is tried on the tests of its room first, then on all others;
what no test notices is printed as a diff. Run it in a clone, since the files are changed where they lie.
"""

import argparse
import ast
import random
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast_from_path
from cosmic_ray.mutating import MutationVisitor, use_mutation
from cosmic_ray.plugins import get_operator, operator_names

SOURCE = Path("src/fullgraph")
# From the narrowest to the whole: what most changes are noticed by comes first.
MODES_AND_DTYPES = ("precisions", "recompute", "own_layers", "held", "wire")
TESTS = {
    "engine": ["tests/engine", " ".join(f"tests/equivalence/test_{law}.py" for law in MODES_AND_DTYPES), "tests"],
    "rows": ["tests/rows", "tests/pyg", "tests"],
    "comm": ["tests/comm", "tests/engine tests/train", "tests"],
}
Place = tuple[Path, tuple[int, int], tuple[int, int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rooms", nargs="+", default=list(TESTS), choices=TESTS)
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="skip this many of the sample")
    parser.add_argument("--stages", type=int, default=3, help="1: only the tests of a room; 3: all tests")
    given = parser.parse_args()
    chosen = list(islice(_changes(given.rooms, random.Random(given.seed)), given.count))
    survived = 0
    for number, (place, operator, occurrence) in enumerate(chosen[given.first :], given.first):
        start = time.monotonic()
        notice, diff = _try(place[0], operator, occurrence, given.stages)
        survived += notice is None
        verdict = "SURVIVED" if notice is None else notice
        print(f"{number} {place[0]}:{place[1][0]} {operator.split('/')[1]} {time.monotonic() - start:.0f} s {verdict}")
        print(diff if notice is None else "", end="", flush=True)
    print(f"{survived} of {len(chosen) - given.first} survived")


def _changes(rooms: list[str], draws: random.Random) -> Iterator[tuple[Place, str, int]]:
    """Changes in random order, one per place: where, by which operator of the tool, and which of its occurrences."""
    places = defaultdict(list)
    for path in sorted(p for room in rooms for p in (SOURCE / room).rglob("*.py")):
        nodes = list(ast_nodes(get_ast_from_path(path)))
        for name in operator_names():
            if not get_operator(name).arguments():
                found = (place for node in nodes for place in get_operator(name)().mutation_positions(node))
                for occurrence, (start, end) in enumerate(found):
                    places[path, start, end].append((name, occurrence))
    order = sorted(places)
    draws.shuffle(order)
    for place in order:
        name, occurrence = draws.choice(places[place])
        original = place[0].read_text()
        mutated = MutationVisitor.mutate_code(original, get_operator(name)(), occurrence)
        if mutated is not None and _meaning(mutated) not in (None, _meaning(original)):
            yield place, name, occurrence


def _meaning(code: str) -> str | None:
    """What of the code a test could notice; None if it is no Python."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return None
    return ast.dump(_WithoutWords().visit(tree))


class _WithoutWords(ast.NodeTransformer):
    """Drops annotations, docstrings and what an error says."""

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.Raise()

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        """A name for a type stands at the top of a module; its `|` is no computation."""
        return (
            None
            if isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.BitOr)
            else self.generic_visit(node)
        )


def _try(path: Path, operator: str, occurrence: int, stages: int) -> tuple[str | None, str]:
    """The first test that notices, or None, and the change."""
    with use_mutation(path, get_operator(operator)(), occurrence):
        diff = subprocess.run(["git", "diff", "--unified=1", str(path)], capture_output=True, text=True).stdout
        for tests in TESTS[path.relative_to(SOURCE).parts[0]][:stages]:
            command = [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-x",
                "--no-header",
                "-p",
                "no:cacheprovider",
                *tests.split(),
            ]
            ended = subprocess.run(command, capture_output=True, text=True)
            if ended.returncode:
                found = re.search(r"^(FAILED|ERROR) (\S+)", ended.stdout, re.MULTILINE)
                return found[2] if found else f"{tests}: pytest ended with {ended.returncode}", diff
    return None, diff


if __name__ == "__main__":
    main()
