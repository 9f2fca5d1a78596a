"""add_remaining_self_loops with edge weights, given to GraphConv and to GCNConv without its own normalisation."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCNConv, GraphConv
from torch_geometric.utils import add_remaining_self_loops

data = fg.open(dataset[0])
edge_index, edge_weight = add_remaining_self_loops(
    data.edge_index, data.edge_weight, fill_value=1.0, num_nodes=data.num_nodes
)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = GraphConv(dataset.num_features, 16, aggr="add")
        self.conv2 = GCNConv(16, dataset.num_classes, normalize=False)

    def forward(self, x, edge_index, edge_weight):
        x = self.conv1(x, edge_index, edge_weight).tanh()
        return self.conv2(x, edge_index, edge_weight)


model = Net()
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    logits = model(data.x, edge_index, edge_weight)
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

out = {"logits": logits, "total weight": edge_weight.sum()}
