"""MLPAggregation, which sees the neighbours in their order, over edges sorted by destination."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GraphConv, MLPAggregation
from torch_geometric.utils import degree, sort_edge_index

data = fg.open(dataset[0])
edge_index, edge_weight = sort_edge_index(data.edge_index, data.edge_weight, sort_by_row=False)
max_degree = int(degree(edge_index[1], data.num_nodes, dtype=torch.long).max())


class Net(torch.nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.lin = torch.nn.Linear(dataset.num_features, hidden)
        aggr = MLPAggregation(hidden, hidden, max_degree, num_layers=1)
        self.conv1 = GraphConv(hidden, hidden, aggr=aggr)
        self.conv2 = GraphConv(hidden, dataset.num_classes, aggr="mean")

    def forward(self, x, edge_index, edge_weight):
        x = self.lin(x).relu()
        x = self.conv1(x, edge_index, edge_weight).relu()
        return self.conv2(x, edge_index, edge_weight)


model = Net(6)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    out = model(data.x, edge_index, edge_weight)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
out = {"logits": out, "max_degree": max_degree}
