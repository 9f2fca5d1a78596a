"""Prototypical classification: class means of the training embeddings, and distances of all nodes to them."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import SAGEConv
from torch_geometric.utils import scatter

data = fg.open(dataset[0])
C = dataset.num_classes


class Encoder(torch.nn.Module):
    def __init__(self, in_channels, channels):
        super().__init__()
        self.conv1 = SAGEConv(in_channels, channels)
        self.conv2 = SAGEConv(channels, channels)

    def forward(self, x, edge_index):
        return self.conv2(self.conv1(x, edge_index).relu(), edge_index)


model = Encoder(dataset.num_features, 8)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    z = model(data.x, data.edge_index)
    z_train, y_train = z[data.train_mask], data.y[data.train_mask]
    prototypes = scatter(z_train, y_train, dim=0, dim_size=C, reduce="mean")
    logits = -torch.cdist(z, prototypes).pow(2)
    loss = F.cross_entropy(logits[data.train_mask], y_train)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

with torch.no_grad():
    z = model(data.x, data.edge_index)
    sums = torch.zeros(C, z.size(1)).index_add_(0, data.y, z)
    counts = torch.zeros(C).index_add_(0, data.y, torch.ones(data.num_nodes))
    means = sums / counts.unsqueeze(-1)
    similarity = F.cosine_similarity(z.unsqueeze(1), means.unsqueeze(0), dim=-1)
out = {"logits": logits, "prototypes": prototypes, "means": means, "similarity": similarity}
