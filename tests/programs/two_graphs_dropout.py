"""Training on one graph and measuring on a second one, with dropout in the layers."""

import torch
import torch.nn.functional as F
from torch_geometric.data import Data
from torch_geometric.nn import GATConv

draws = True
data = fg.open(dataset[0])
generator = torch.Generator().manual_seed(3)
other = Data(x=torch.randn(25, 6, generator=generator).to(dataset[0].x.dtype), y=torch.arange(25) % 4)
other.edge_index = torch.randint(0, 25, (2, 90), generator=generator)
other = fg.open(other)


class GAT(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = GATConv(6, 8, heads=2, dropout=0.3)
        self.conv2 = GATConv(16, 4, dropout=0.3)

    def forward(self, x, edge_index):
        x = F.dropout(x, 0.5, self.training)
        return self.conv2(F.elu(self.conv1(x, edge_index)), edge_index)


model = GAT()
fg.prepare(model, data)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(data.x, data.edge_index)[data.train_mask], data.y[data.train_mask])
    loss = loss + F.cross_entropy(model(other.x, other.edge_index), other.y)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
model.eval()
out = [model(data.x, data.edge_index), model(other.x, other.edge_index)]
