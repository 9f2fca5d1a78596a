"""nn.Embedding as the features of all nodes, looked up by their numbers."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GraphConv

draws = True  # a table with a row per node, drawn by the rows' ids

data = fg.open(dataset[0])


class Net(torch.nn.Module):
    def __init__(self, num_nodes, channels, num_classes):
        super().__init__()
        self.emb = torch.nn.Embedding(num_nodes, channels)
        self.conv1 = GraphConv(channels, channels, aggr="mean")
        self.conv2 = GraphConv(channels, num_classes, aggr="mean")

    def forward(self, n_id, edge_index):
        x = self.emb(n_id)
        x = self.conv1(x, edge_index).relu()
        return self.conv2(x, edge_index)


model = Net(data.num_nodes, 16, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
n_id = torch.arange(data.num_nodes)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    out = model(n_id, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
