"""Gradients of two losses are added up by two calls of backward before one step."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCNConv

data = fg.open(dataset[0])


class GCN(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels):
        super().__init__()
        self.conv1 = GCNConv(in_channels, hidden_channels)
        self.conv2 = GCNConv(hidden_channels, out_channels)

    def forward(self, x, edge_index):
        x = self.conv1(x, edge_index).relu()
        return self.conv2(x, edge_index)


model = GCN(dataset.num_features, 16, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
accumulation_steps = 2
halves = [data.y % 2 == 0, data.y % 2 == 1]

losses = []
for _ in range(4):
    total = 0.0
    optimizer.zero_grad()
    for half in halves:
        mask = data.train_mask & half
        out = model(data.x, data.edge_index)
        loss = F.cross_entropy(out[mask], data.y[mask]) / accumulation_steps
        loss.backward()
        total += loss.item()
    optimizer.step()
    losses.append(total)

out = {"logits": out, "grads": [p.grad for p in model.parameters()]}
