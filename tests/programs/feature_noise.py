"""Gaussian noise on the features and on the hidden rows in training."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import SAGEConv

draws = True
data = fg.open(dataset[0])


class NoisySAGE(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels):
        super().__init__()
        self.conv1 = SAGEConv(in_channels, hidden_channels)
        self.conv2 = SAGEConv(hidden_channels, out_channels)

    def forward(self, x, edge_index):
        if self.training:
            x = x + 0.1 * torch.randn_like(x)
        x = F.relu(self.conv1(x, edge_index))
        if self.training:
            x = x * (1 + 0.1 * torch.randn(x.size(0), 1))
        return self.conv2(x, edge_index)


model = NoisySAGE(data.num_features, 16, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    logits = model(data.x, data.edge_index)
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

model.eval()
out = model(data.x, data.edge_index)
