"""A virtual-node-like context: sum and maximum over all nodes, with None for the batch, added to each node."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCNConv, global_add_pool, global_max_pool

data = fg.open(dataset[0])


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = GCNConv(dataset.num_features, 8)
        self.context = torch.nn.Linear(16, 8)
        self.conv2 = GCNConv(8, dataset.num_classes)

    def forward(self, x, edge_index):
        x = self.conv1(x, edge_index).relu()
        total = global_add_pool(x, None) / x.size(0)
        top = global_max_pool(x, None)
        x = x + self.context(torch.cat([total, top], dim=-1))
        return self.conv2(x, edge_index)


model = Net()
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
