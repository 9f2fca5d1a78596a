"""A small graph with everything that goes wrong: self-loops, repeated edges, a hub, isolated nodes, one-way edges."""

import torch
from torch_geometric.data import Data

NUM_NODES = 67
NUM_FEATURES = 6
NUM_CLASSES = 4


def awkward_graph(seed: int = 0) -> Data:
    """67 nodes, float64 features, edge weights and attributes; node 66 has no edge at all, node 65 no in-edge."""
    rng = torch.Generator().manual_seed(seed)
    src = torch.randint(0, 65, (260,), generator=rng)
    dst = torch.randint(0, 65, (260,), generator=rng)
    hub = torch.stack([torch.randint(0, 65, (60,), generator=rng), torch.full((60,), 5)])
    loops = torch.tensor([[3, 8, 8, 20], [3, 8, 8, 20]])
    repeated = torch.tensor([[1, 1, 1, 2], [4, 4, 4, 7]])
    one_way = torch.tensor([[65, 65], [0, 30]])
    edge_index = torch.cat([torch.stack([src, dst]), hub, loops, repeated, one_way], dim=1)
    num_edges = edge_index.size(1)
    train_mask = torch.rand(NUM_NODES, generator=rng) < 0.5
    return Data(
        x=torch.randn(NUM_NODES, NUM_FEATURES, generator=rng, dtype=torch.float64),
        edge_index=edge_index,
        edge_weight=torch.rand(num_edges, generator=rng, dtype=torch.float64) + 0.1,
        edge_attr=torch.randn(num_edges, 3, generator=rng, dtype=torch.float64),
        y=torch.randint(0, NUM_CLASSES, (NUM_NODES,), generator=rng),
        train_mask=train_mask,
        probe=torch.randn(NUM_NODES, NUM_CLASSES, generator=rng, dtype=torch.float64),
    )
