"""A robust mean-free layer: quartiles of the neighbours' features by QuantileAggregation."""

import torch
import torch.nn.functional as F
from torch import nn
from torch_geometric.nn import MessagePassing, QuantileAggregation

data = fg.open(dataset[0])


class QuartileConv(MessagePassing):
    def __init__(self, in_channels, out_channels, interpolation):
        super().__init__(aggr=QuantileAggregation([0.25, 0.5, 0.75], interpolation=interpolation))
        self.lin = nn.Linear(in_channels, out_channels)
        self.out = nn.Linear(4 * out_channels, out_channels)

    def forward(self, x, edge_index):
        x = self.lin(x)
        h = self.propagate(edge_index, x=x)
        return self.out(torch.cat([x, h.view(x.size(0), -1)], dim=-1))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = QuartileConv(dataset.num_features, 8, "linear")
        self.conv2 = QuartileConv(8, 8, "midpoint")
        self.lin = nn.Linear(8, dataset.num_classes)

    def forward(self, x, edge_index):
        x = self.conv1(x, edge_index).relu()
        x = self.conv2(x, edge_index).relu()
        return self.lin(x)


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
