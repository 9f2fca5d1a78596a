"""SAGE and GraphConv with median aggregation, by name and by class."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GraphConv, SAGEConv
from torch_geometric.nn.aggr import MedianAggregation

data = fg.open(dataset[0])


class Net(torch.nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.conv1 = SAGEConv(dataset.num_features, hidden, aggr="median")
        self.conv2 = GraphConv(hidden, dataset.num_classes, aggr=MedianAggregation(fill_value=0.5))

    def forward(self, x, edge_index):
        x = self.conv1(x, edge_index)
        x = F.gelu(x)
        return self.conv2(x, edge_index)


model = Net(16)
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
