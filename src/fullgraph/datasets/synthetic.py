"""Graphs of any size from a seed: communities crossed with a power law, as hard to partition as real ones."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from fullgraph.errors import InputError
from fullgraph.graph.graph import Graph

_INSIDE = 0.8  # chance that an edge stays in its community
_TAIL = 2.5  # exponent of the density of the node weights
_LARGEST_WEIGHT = 200.0  # the smallest is 1
_NOISY_LABELS = 0.1
_SIGNAL = 0.3  # length of a class's centre against noise of unit variance


@dataclass(frozen=True, kw_only=True)
class Size:
    """What to make.

    Attributes:
        num_nodes: at least 2.
        num_edges: directed edges, self-loops among them; at most a quarter of all pairs, so that drawing ends soon.
            Less one edge if that is what it takes to have both directions of each.
        num_communities: at least 1; a community's share of the nodes varies.
        num_features, num_classes: columns of ``x``, values of ``y``.
        seed: same size and seed: same graph.
    """

    num_nodes: int
    num_edges: int
    num_communities: int
    num_features: int = 100
    num_classes: int = 47
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"num_nodes": 2, "num_communities": 1, "num_features": 1, "num_classes": 1, "seed": 0}
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise InputError(f"{name} of a synthetic graph must be at least {lowest}: {getattr(self, name)}")
        if not self.num_nodes <= self.num_edges <= self.num_nodes**2 // 4:
            raise InputError(
                f"num_edges of a synthetic graph of {self.num_nodes} nodes must be from {self.num_nodes} (self-loops) "
                f"to {self.num_nodes**2 // 4}: {self.num_edges}"
            )


SIZES: Final = {
    "synthetic-tiny": Size(num_nodes=1_000, num_edges=20_000, num_communities=10, num_features=16, num_classes=5),
    "synthetic-small": Size(num_nodes=50_000, num_edges=2_500_000, num_communities=200),
    "synthetic-large": Size(num_nodes=200_000, num_edges=10_000_000, num_communities=400),
}


def synthetic(size: Size) -> Graph:
    """A degree-corrected stochastic block model.

    Both directions of every edge, one self-loop per node, no edge twice; sorted by destination, then source. Node ids
    say nothing about communities. ``y`` is a class drawn for the node's community, for one node in ten any class; ``x``
    is the class's centre plus unit noise; 8 % of the nodes train, 2 % validate, the rest test.
    """
    generator = np.random.default_rng(size.seed)
    share = generator.dirichlet(np.full(size.num_communities, 5.0))
    community = generator.choice(size.num_communities, size.num_nodes, p=share)
    src, dst = _joined_pairs(size, community, generator)
    loops = np.arange(size.num_nodes)
    key = np.concatenate([src * size.num_nodes + dst, dst * size.num_nodes + src, loops * (size.num_nodes + 1)])
    key.sort()
    dst, src = np.divmod(key, size.num_nodes)

    y = generator.integers(size.num_classes, size=size.num_communities)[community]
    noisy = generator.random(size.num_nodes) < _NOISY_LABELS
    y[noisy] = generator.integers(size.num_classes, size=int(noisy.sum()))
    centres = generator.standard_normal((size.num_classes, size.num_features), dtype=np.float32)
    x = generator.standard_normal((size.num_nodes, size.num_features), dtype=np.float32)
    x += np.float32(_SIGNAL) * centres[y]
    draw = generator.random(size.num_nodes)
    return Graph.homogeneous(
        np.stack([src, dst]),
        num_nodes=size.num_nodes,
        x=x,
        y=y,
        train_mask=draw < 0.08,
        val_mask=(draw >= 0.08) & (draw < 0.1),
        test_mask=draw >= 0.1,
    )


def _joined_pairs(size: Size, community: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Distinct pairs of different nodes, each pair in one direction."""
    weight = np.minimum(generator.random(size.num_nodes) ** (-1 / (_TAIL - 1)), _LARGEST_WEIGHT)
    by_community = np.argsort(community, kind="stable")
    upto = np.cumsum(weight[by_community])  # weight of all nodes up to and with each, community after community
    last = np.cumsum(np.bincount(community, minlength=size.num_communities))
    ends = np.concatenate([[0.0], upto])[np.concatenate([[0], last])]

    def draw(low: np.ndarray | float, high: np.ndarray | float, count: int) -> np.ndarray:
        place = np.searchsorted(upto, generator.uniform(low, high, count), side="right")
        return by_community[np.minimum(place, size.num_nodes - 1)]

    num_pairs = (size.num_edges - size.num_nodes) // 2
    pairs = np.empty(0, np.int64)
    while len(pairs) < num_pairs:
        count = (num_pairs - len(pairs)) * 5 // 4 + 64
        first = draw(0.0, upto[-1], count)
        inside = generator.random(count) < _INSIDE
        low = np.where(inside, ends[community[first]], 0.0)
        high = np.where(inside, ends[community[first] + 1], upto[-1])
        second = draw(low, high, count)
        low_id, high_id = np.minimum(first, second), np.maximum(first, second)
        proper = low_id != high_id
        pairs = np.unique(np.concatenate([pairs, (low_id * size.num_nodes + high_id)[proper]]))
    pairs = generator.permutation(pairs)[:num_pairs]
    return np.divmod(pairs, size.num_nodes)
