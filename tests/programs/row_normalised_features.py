"""Non-negative features are normalised by row, as NormalizeFeatures does, and scaled to [0, 1] by column."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import SAGEConv

data = fg.open(dataset[0])
x = data.x.abs()
x = x / x.sum(1, keepdim=True).clamp(min=1e-12)
low, high = data.pos.min(dim=0).values, data.pos.max(dim=0).values
pos = (data.pos - low) / (high - low)
x = torch.cat([x, pos], dim=-1)


class SAGE(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels):
        super().__init__()
        self.conv1 = SAGEConv(in_channels, hidden_channels, normalize=True)
        self.conv2 = SAGEConv(hidden_channels, out_channels)

    def forward(self, x, edge_index):
        return self.conv2(F.relu(self.conv1(x, edge_index)), edge_index)


model = SAGE(x.size(-1), 16, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    out = model(x, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
