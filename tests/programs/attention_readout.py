"""An attention readout written by hand: a softmax over all nodes of a gate, then the weighted sum."""

import torch
import torch.nn.functional as F
from torch import nn
from torch_geometric.nn import SAGEConv

data = fg.open(dataset[0])


class AttentionReadout(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.gate_nn = nn.Sequential(nn.Linear(channels, channels), nn.Tanh(), nn.Linear(channels, 1))

    def forward(self, x):
        gate = torch.softmax(self.gate_nn(x), dim=0)
        return (gate * x).sum(dim=0), gate


class Net(nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels):
        super().__init__()
        self.conv = SAGEConv(in_channels, hidden_channels)
        self.readout = AttentionReadout(hidden_channels)
        self.lin = nn.Linear(2 * hidden_channels, out_channels)

    def forward(self, x, edge_index):
        h = F.relu(self.conv(x, edge_index))
        context, gate = self.readout(h)
        h = torch.cat([h, context.expand(h.size(0), -1)], dim=1)
        return self.lin(h), gate


model = Net(data.num_features, 16, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    logits, gate = model(data.x, data.edge_index)
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

out = {"logits": logits, "gate": gate}
