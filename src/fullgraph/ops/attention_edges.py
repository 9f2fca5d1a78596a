"""What the three attentions ask alike: of each tensor its shape, in letters, and of a block's edges and dropout."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec

import torch
from torch import Tensor

from fullgraph.ops.checks import check, check_block
from fullgraph.ops.operators import operator

P = ParamSpec("P")


def attention(twin: Callable[..., None], table: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """An `operator` over a block, which is its signature, its twin and this table alone.

    Args:
        twin: as in `operator`.
        table: names of tensors, each with a letter for each of its dimensions: n for the block's rows, S for its
            columns, H for heads, C for channels, E for edges; lower h stands for H or 1, of a gradient that all heads
            share. All are of the first one's dtype. Those with ! are added into.
    """
    shapes = dict(entry.replace("!", "").split() for entry in table.split(", ")) | {"bias": "EH"}
    changed = [entry.split("!")[0] for entry in table.split(", ") if "!" in entry]

    def register(op: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(op)
        def asks(**given: Any) -> None:
            _check(given, shapes)

        return operator(twin, *changed)(asks)  # pyright: ignore[reportReturnType, reportArgumentType]

    return register


def _check(given: Mapping[str, Any], shapes: Mapping[str, str]) -> None:
    """Refuse what does not fit, naming what was expected and what it is: a letter is the size that had it first."""
    (first, *_), device = shapes, given["indptr"].device
    dtype, num_edges = given[first].dtype, given["indices"].numel() if given["edge_ids"] is None else -1
    sizes: dict[str, int] = {"E": num_edges}
    for name, letters in shapes.items():
        tensor: Tensor | None = given.get(name)
        if tensor is not None:
            if "h" in letters:
                sizes["h"] = 1 if tensor.dim() == len(letters) and tensor.size(letters.index("h")) == 1 else sizes["H"]
            check(name, tensor, [sizes.get(letter, -1) for letter in letters], dtype, device)
            for letter, size in zip(letters, tensor.shape, strict=True):
                sizes.setdefault(letter, size)
    check_block(given["indptr"], given["indices"], given["edge_ids"], sizes["n"])
    if given["dropout"] is not None:
        check("edge_keys", given["dropout"].edge_keys, [num_edges], torch.int64, device)
