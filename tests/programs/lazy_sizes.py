"""Layers that learn their sizes in the first training step, no forward before it."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GATConv, GCNConv, GENConv, GINConv, GMMConv, SAGEConv

data = fg.open(dataset[0])


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.sage = SAGEConv((-1, -1), 8)
        self.gat = GATConv(-1, 4, heads=2)
        self.gen = GENConv(-1, 8)
        self.gmm = GMMConv(-1, 8, dim=3, kernel_size=2)
        self.gin = GINConv(torch.nn.Sequential(torch.nn.LazyLinear(8), torch.nn.ReLU(), torch.nn.LazyLinear(8)))
        self.gcn = GCNConv(-1, 8)
        self.out = torch.nn.LazyLinear(4)

    def forward(self, x, edge_index, edge_attr):
        x = F.elu(self.sage(x, edge_index))
        x = F.elu(self.gat(x, edge_index))
        x = F.elu(self.gen(x, edge_index)) + F.elu(self.gmm(x, edge_index, edge_attr))
        return self.out(F.elu(self.gin(x, edge_index)) + self.gcn(x, edge_index))


model = Net()
fg.prepare(model, data)
losses = []
for _ in range(4):
    out = model(data.x, data.edge_index, data.edge_attr)
    if not losses:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    optimizer.zero_grad()
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
