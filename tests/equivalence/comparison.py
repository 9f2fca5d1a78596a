"""One layer's result from all ranks, put together and compared with that of one process."""

from typing import Any

import torch

import fullgraph as fg
from tests.equivalence.cases import EDGE_LEAVES, NODE_LEAVES, Case, Result, run

Share = tuple[Result, torch.Tensor, dict[str, Any]]


def share_of_result(case: Case, data: Any) -> Share:
    """What a rank knows of the result: all rows on rank 0, summed gradients, and its own edges' with their ids."""
    result = run(case, data, lambda module: fg.convert(module, data))
    whole = Result(
        fg.gather_rows(result.out, data),
        {key: None if result.leaves[key] is None else fg.gather_rows(result.leaves[key], data) for key in NODE_LEAVES},
        {key: data.world.all_reduce(grad.clone()) for key, grad in result.parameters.items()},
        result.buffers,
    )
    return whole, data.edge_ids, {key: result.leaves[key] for key in EDGE_LEAVES}


def assert_same(shares: list[Share], wanted: Result) -> None:
    """Output, gradients of nodes, edges and parameters, and buffers, to nine digits."""
    close: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}
    got = shares[0][0]
    torch.testing.assert_close(got.out, wanted.out, **close)
    torch.testing.assert_close(got.leaves["x"], wanted.leaves["x"], **close)
    torch.testing.assert_close(got.parameters, wanted.parameters, **close)
    torch.testing.assert_close(got.buffers, wanted.buffers, **close)
    order = torch.argsort(torch.cat([ids for _, ids, _ in shares]))
    for key in EDGE_LEAVES:
        if wanted.leaves[key] is not None:
            edges = torch.cat([leaves[key] for *_, leaves in shares])[order]
            torch.testing.assert_close(edges, wanted.leaves[key], **close)
