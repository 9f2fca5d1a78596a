"""Reversible blocks of a bare layer, whose own results they free and make again."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GATConv, GroupAddRev, SAGEConv

data = fg.open(dataset[0])


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(6, 16)
        self.blocks = torch.nn.ModuleList(
            [GroupAddRev(SAGEConv(8, 8), num_groups=2), GroupAddRev(GATConv(8, 4, heads=2), num_groups=2)]
        )
        self.last = torch.nn.Linear(16, 4)

    def forward(self, x, edge_index):
        x = self.first(x)
        for block in self.blocks:
            x = block(x, edge_index)
        return self.last(x)


model = Net()
fg.prepare(model, data)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
losses = []
for _ in range(4):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(data.x, data.edge_index)[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
