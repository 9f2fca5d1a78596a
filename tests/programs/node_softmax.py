"""Soft clusters whose memberships are normalised over the nodes by nn.Softmax(dim=0); clusters talk back to nodes."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCNConv

data = fg.open(dataset[0])


class ClusterNet(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, num_clusters, num_classes):
        super().__init__()
        self.conv = GCNConv(in_channels, hidden_channels)
        self.assign = torch.nn.Linear(hidden_channels, num_clusters)
        self.softmax = torch.nn.Softmax(dim=0)
        self.out = torch.nn.Linear(2 * hidden_channels, num_classes)

    def forward(self, x, edge_index):
        h = self.conv(x, edge_index).relu()
        s = self.softmax(self.assign(h))  # [num_nodes, num_clusters], columns sum to one
        clusters = s.t() @ h
        back = F.softmax(self.assign(h), dim=-1) @ clusters
        return self.out(torch.cat([h, back], dim=-1))


model = ClusterNet(dataset.num_features, 16, 3, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
