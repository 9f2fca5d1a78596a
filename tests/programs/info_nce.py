"""GRACE: two views of the features, and InfoNCE between them on a few anchor nodes."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCNConv

data = fg.open(dataset[0])
anchors = torch.tensor([0, 5, 11, 17, 23, 34, 41, 59])


class Grace(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, proj_channels, tau=0.5):
        super().__init__()
        self.conv1 = GCNConv(in_channels, hidden_channels)
        self.conv2 = GCNConv(hidden_channels, hidden_channels)
        self.fc1 = torch.nn.Linear(hidden_channels, proj_channels)
        self.fc2 = torch.nn.Linear(proj_channels, hidden_channels)
        self.tau = tau

    def forward(self, x, edge_index):
        return F.elu(self.conv2(F.elu(self.conv1(x, edge_index)), edge_index))

    def projection(self, z):
        return self.fc2(F.elu(self.fc1(z)))

    def sim(self, z1, z2):
        return F.normalize(z1) @ F.normalize(z2).t() / self.tau

    def loss(self, z1, z2):
        h1, h2 = self.projection(z1)[anchors], self.projection(z2)[anchors]
        target = torch.arange(anchors.size(0))
        return (F.cross_entropy(self.sim(h1, h2), target) + F.cross_entropy(self.sim(h2, h1), target)) / 2


model = Grace(dataset.num_features, 16, 8)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-5)
keep1 = torch.tensor([1, 1, 1, 0, 1, 0], dtype=torch.bool)
keep2 = torch.tensor([0, 1, 1, 1, 0, 1], dtype=torch.bool)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    x1, x2 = data.x.clone(), data.x.masked_fill(~keep2, 0.0)
    x1[:, ~keep1] = 0
    z1, z2 = model(x1, data.edge_index), model(x2, data.edge_index)
    loss = model.loss(z1, z2)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

out = {"z1": z1, "z2": z2, "sim": model.sim(z1[anchors], z2[anchors])}
