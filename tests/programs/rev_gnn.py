"""Reversible GNN: GroupAddRev blocks that recompute their input in the backward pass."""

import torch
import torch.nn.functional as F
from torch.nn import LayerNorm, Linear
from torch_geometric.nn import GroupAddRev, SAGEConv

data = fg.open(dataset[0])


class GNNBlock(torch.nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.norm = LayerNorm(in_channels, elementwise_affine=True)
        self.conv = SAGEConv(in_channels, out_channels)

    def reset_parameters(self):
        self.norm.reset_parameters()
        self.conv.reset_parameters()

    def forward(self, x, edge_index):
        return self.conv(self.norm(x).relu(), edge_index)


class RevGNN(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels, num_layers, num_groups=2):
        super().__init__()
        self.lin1 = Linear(in_channels, hidden_channels)
        self.lin2 = Linear(hidden_channels, out_channels)
        self.norm = LayerNorm(hidden_channels, elementwise_affine=True)
        self.convs = torch.nn.ModuleList()
        for _ in range(num_layers):
            conv = GNNBlock(hidden_channels // num_groups, hidden_channels // num_groups)
            self.convs.append(GroupAddRev(conv, num_groups=num_groups))

    def forward(self, x, edge_index):
        x = self.lin1(x)
        for conv in self.convs:
            x = conv(x, edge_index)
        return self.lin2(self.norm(x).relu())


model = RevGNN(dataset.num_features, 16, dataset.num_classes, num_layers=4)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.003)

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

model.eval()
with torch.no_grad():
    out = model(data.x, data.edge_index)
