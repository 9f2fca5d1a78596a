"""Propagation written by hand: a score per edge, softmax over the in-edges of a node and the weighted sum."""

import torch
import torch.nn.functional as F
from torch_geometric.utils import scatter, softmax

data = fg.open(dataset[0])


class Layer(torch.nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.lin = torch.nn.Linear(in_channels, out_channels, bias=False)
        self.root = torch.nn.Linear(in_channels, out_channels)

    def forward(self, x, edge_index):
        src, dst = edge_index[0], edge_index[1]
        h = self.lin(x)
        score = F.leaky_relu((h[src] * h[dst]).sum(dim=-1) / h.size(-1) ** 0.5, 0.2)
        alpha = softmax(score, dst, num_nodes=x.size(0))
        return scatter(alpha.view(-1, 1) * h[src], dst, dim_size=x.size(0), reduce="sum") + self.root(x)


class Net(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels):
        super().__init__()
        self.layer1 = Layer(in_channels, hidden_channels)
        self.layer2 = Layer(hidden_channels, out_channels)

    def forward(self, x, edge_index):
        return self.layer2(self.layer1(x, edge_index).relu(), edge_index)


model = Net(dataset.num_features, 16, dataset.num_classes)
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
