"""One layer's result on a rank, all rows of it, compared with that of one process."""

from typing import Any

import torch

import fullgraph as fg
from tests.equivalence.cases import Case, Result, run


def result_on_rank(case: Case, data: Any) -> Result:
    """Everything that the layer gave, the same on all ranks."""
    return gathered(run(case, data, lambda module: fg.prepare(module, data)))


def gathered(result: Result) -> Result:
    """With all rows. Collective."""
    return Result(
        fg.gather(result.out),
        {key: None if grad is None else fg.gather(grad) for key, grad in result.leaves.items()},
        {key: fg.gather(grad) for key, grad in result.parameters.items()},
        result.buffers,
    )


def assert_same(what: str, results: list[Result], wanted: Result) -> None:
    """On all ranks: output, gradients of nodes, edges and parameters, and buffers, to nine digits."""

    def same(value: Any, want: Any, of: str) -> None:
        assert (value is None) == (want is None), (what, of)
        if want is not None:
            close = {"rtol": 1e-9, "atol": 1e-10, "msg": lambda text: f"{what}: {of}: {text}"}
            torch.testing.assert_close(value, want, **close)

    for got in results:
        same(got.out, wanted.out, "output")
        for of in ("leaves", "parameters", "buffers"):
            found, known = getattr(got, of), getattr(wanted, of)
            assert found.keys() == known.keys(), what
            for key, value in known.items():
                same(found[key], value, key)
