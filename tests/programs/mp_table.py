"""A MessagePassing layer that looks up tables of its own by the end points of the edges."""

import torch
import torch.nn.functional as F
from torch import nn
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import degree

data = fg.open(dataset[0])


class TableConv(MessagePassing):
    def __init__(self, in_channels, out_channels, deg):
        super().__init__(aggr="add", node_dim=0)
        self.lin = nn.Linear(in_channels, out_channels)
        self.root = nn.Linear(in_channels, out_channels)
        self.log_deg = deg.clamp(min=1).log()
        self.register_buffer("deg_inv_sqrt", deg.clamp(min=1).pow(-0.5))
        self.slope = nn.Parameter(torch.zeros(1))

    def forward(self, x, edge_index):
        return self.root(x) + self.propagate(edge_index, x=self.lin(x))

    def message(self, x_j, edge_index_i, edge_index_j):
        norm = self.deg_inv_sqrt[edge_index_i] * self.deg_inv_sqrt[edge_index_j]
        norm = norm * (1 + self.slope * self.log_deg[edge_index_j])
        return norm.unsqueeze(-1) * x_j


class Net(nn.Module):
    def __init__(self, deg):
        super().__init__()
        self.conv1 = TableConv(dataset.num_features, 16, deg)
        self.conv2 = TableConv(16, dataset.num_classes, deg)

    def forward(self, x, edge_index):
        return self.conv2(self.conv1(x, edge_index).relu(), edge_index)


model = Net(degree(data.edge_index[1], data.num_nodes, dtype=data.x.dtype))
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    logits = model(data.x, data.edge_index)
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
out = logits
