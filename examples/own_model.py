"""Trains a model of one's own, two kinds of layers with batch norm and ``F.dropout``: a plain PyG script and two lines.

Alone, or on as many ranks as the graph has parts, with the same losses:

    python examples/own_model.py [GRAPH]
    torchrun --nproc-per-node 2 examples/own_model.py [GRAPH]

GRAPH is a partitioned graph's folder; without it the digits are partitioned into runs/digits.fg first.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn import GATConv, SAGEConv

import fullgraph as fg
from fullgraph.datasets import load

NUM_PARTS, EPOCHS = 4, 30


class OwnModel(torch.nn.Module):
    """Nothing in it knows of ranks."""

    def __init__(self, num_features: int, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.first = SAGEConv(num_features, hidden)
        self.norm = torch.nn.BatchNorm1d(hidden)
        self.second = GATConv(hidden, num_classes, heads=2, concat=False)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        hidden = self.norm(self.first(x, edge_index)).relu()
        hidden = F.dropout(hidden, p=0.5, training=self.training)
        return self.second(hidden, edge_index)


def train(graph: Path, world: fg.World) -> None:
    """The loop. Every rank runs it, and every number in it is that of the whole graph; only rank 0 prints."""
    data = fg.open(graph, world)  # the first line
    torch.manual_seed(0)
    model = OwnModel(data.num_features, 64, data.num_classes)
    fg.prepare(model, data)  # the second
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    for epoch in range(1, EPOCHS + 1):
        model.train()
        optimizer.zero_grad()
        out = model(data.x, data.edge_index)
        loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if world.rank == 0 and epoch % 10 == 0:
            print(f"epoch {epoch} loss {loss.item():.4f}")

    model.eval()
    with torch.no_grad():
        out = model(data.x, data.edge_index)
    accuracy = (out.argmax(-1) == data.y)[data.test_mask].float().mean()
    predictions = fg.gather(out)  # all nodes in their original order, an ordinary tensor
    if world.rank == 0:
        shape = tuple(predictions.shape)
        print(f"test accuracy {accuracy:.4f} with {world.num_ranks} rank(s), predictions {shape}")


def main() -> None:
    world = fg.init()
    graph = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/digits.fg")

    def make_graph() -> None:
        if world.rank == 0 and not graph.exists():
            graph.parent.mkdir(parents=True, exist_ok=True)
            fg.partition(load("digits"), graph, num_parts=NUM_PARTS)

    world.together(make_graph)  # the others wait for rank 0, and stop with it if it fails
    train(graph, world)
    world.close()


if __name__ == "__main__":
    main()
