"""HeteroLinear and HeteroLayerNorm by node type over the homogeneous form of the graph."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import HeteroLayerNorm, HeteroLinear, SAGEConv

data = fg.open(dataset[0])
in_channels = max(data.num_node_features.values())
for node_type in data.node_types:
    data[node_type].h = F.pad(data[node_type].x, (0, in_channels - data[node_type].x.size(1)))
homo = data.to_homogeneous(node_attrs=["h", "y", "train_mask", "test_mask"])


class Net(torch.nn.Module):
    def __init__(self, hidden, num_types):
        super().__init__()
        self.lin1 = HeteroLinear(in_channels, hidden, num_types)
        self.norm = HeteroLayerNorm(hidden, num_types)
        self.conv = SAGEConv(hidden, hidden)
        self.lin2 = HeteroLinear(hidden, dataset.num_classes, num_types)

    def forward(self, x, edge_index, node_type):
        x = self.norm(self.lin1(x, node_type), node_type).relu()
        x = self.conv(x, edge_index).relu()
        return self.lin2(x, node_type)


model = Net(16, len(data.node_types))
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    logits = model(homo.h, homo.edge_index, homo.node_type)
    loss = F.cross_entropy(logits[homo.train_mask], homo.y[homo.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

pred = logits.argmax(dim=-1)
out = {"logits": logits, "acc": (pred == homo.y)[homo.test_mask].double().mean().item()}
