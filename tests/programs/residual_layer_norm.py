"""Residual blocks of torch.nn.LayerNorm, GELU and a graph convolution."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GraphConv

data = fg.open(dataset[0])


class Block(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = torch.nn.LayerNorm(channels)
        self.conv = GraphConv(channels, channels, aggr="mean")

    def forward(self, x, edge_index):
        return x + self.conv(F.gelu(self.norm(x)), edge_index)


class ResGNN(torch.nn.Module):
    def __init__(self, in_channels, channels, out_channels, num_blocks):
        super().__init__()
        self.stem = torch.nn.Linear(in_channels, channels)
        self.blocks = torch.nn.ModuleList([Block(channels) for _ in range(num_blocks)])
        self.head = torch.nn.Linear(channels, out_channels)

    def forward(self, data):
        x = self.stem(data.x)
        for block in self.blocks:
            x = block(x, data.edge_index)
        return self.head(x)


model = ResGNN(data.num_features, 16, dataset.num_classes, num_blocks=3)
fg.prepare(model, data)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    out = model(data)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
