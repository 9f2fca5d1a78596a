"""What decides a dropout: a hash of (key, global id, column) against a threshold, not a stored or ordered draw."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fullgraph.ops.checks import check, check_key, check_probability


@dataclass(frozen=True, kw_only=True)
class Dropout:
    """Dropout of attention weights: edge e, head h is kept by the hash of (key, edge_keys[e], h).

    Attributes:
        p: the probability of dropping, 0 to 1.
        key: int from 0 to 2**63 - 1; another key is another mask. Normally made of (seed, step, layer).
        edge_keys: int64 [E], what identifies an edge on every rank (any values, repeats draw alike).

    Raises:
        InputError: on a probability or key out of range, or edge_keys that are not one int64 per edge.
    """

    p: float
    key: int
    edge_keys: Tensor

    def __post_init__(self) -> None:
        check_probability(self.p)
        check_key(self.key)
        check("edge_keys", self.edge_keys, [-1], torch.int64, self.edge_keys.device)


def threshold(p: float) -> int:
    """The 24-bit number that an entry's hash must reach to be kept."""
    return round(p * 2**24)


def keep_scale(p: float) -> float:
    """What a kept entry is multiplied by: 1 / (1 - p), and 0 where nothing is kept."""
    return 1.0 / (1.0 - p) if p < 1.0 else 0.0
