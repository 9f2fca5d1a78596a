"""LBFGS, whose closure is called several times a step."""

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
        x = self.conv1(x, edge_index).tanh()
        return self.conv2(x, edge_index)


model = GCN(dataset.num_features, 8, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=3, history_size=5)


def closure():
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    return loss


losses = []
for epoch in range(4):
    loss = optimizer.step(closure)
    losses.append(loss.item())
    print(f"Epoch: {epoch:03d}, Loss: {loss:.4f}")

with torch.no_grad():
    out = model(data.x, data.edge_index)
