"""Aggregations that depend on the order of neighbours: patches and least common multiples of messages."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import SAGEConv
from torch_geometric.nn.aggr import LCMAggregation, PatchTransformerAggregation

graph = dataset[0]
graph.edge_index = graph.edge_index[:, graph.edge_index[1].argsort(stable=True)]
del graph.edge_attr, graph.edge_weight
data = fg.open(graph)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        patches = PatchTransformerAggregation(8, 8, patch_size=2, hidden_channels=8, heads=2, dropout=0.0, aggr="mean")
        self.lin = torch.nn.Linear(6, 8)
        self.conv1, self.conv2 = SAGEConv(8, 8, aggr=patches), SAGEConv(8, 4, aggr=LCMAggregation(8, 8))

    def forward(self, x, edge_index):
        return self.conv2(self.conv1(self.lin(x), edge_index).tanh(), edge_index)


model = Net()
fg.prepare(model, data)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
losses = []
for _ in range(4):
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
