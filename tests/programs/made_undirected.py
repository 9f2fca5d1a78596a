"""A directed graph made from half of the edges, then made undirected and coalesced in the script."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import SAGEConv
from torch_geometric.utils import coalesce, is_undirected, to_undirected

data = fg.open(dataset[0])
row, col = data.edge_index
directed = data.edge_index[:, row < col]
edge_index = to_undirected(directed, num_nodes=data.num_nodes)
twice = coalesce(torch.cat([directed, directed], dim=1))


class SAGE(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = SAGEConv(dataset.num_features, 16)
        self.conv2 = SAGEConv(16, dataset.num_classes)
        self.directed = SAGEConv(16, dataset.num_classes)

    def forward(self, x):
        x = F.relu(self.conv1(x, edge_index))
        return self.conv2(x, edge_index) + self.directed(x, twice)


model = SAGE()
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    logits = model(data.x)
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

out = {
    "logits": logits,
    "num_edges": [directed.size(1), edge_index.size(1), twice.size(1)],
    "undirected": int(is_undirected(edge_index)),
}
