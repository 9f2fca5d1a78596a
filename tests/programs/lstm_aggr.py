"""LSTMAggregation in a layer of one's own, over a graph sorted by `Data.sort`, with edge attributes."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import LSTMAggregation, MessagePassing

data = fg.open(dataset[0])
data = data.sort(sort_by_row=False)


class LSTMConv(MessagePassing):
    def __init__(self, in_channels, out_channels, edge_dim):
        super().__init__(aggr=LSTMAggregation(in_channels, out_channels))
        self.edge_lin = torch.nn.Linear(edge_dim, in_channels)
        self.lin = torch.nn.Linear(in_channels, out_channels)

    def forward(self, x, edge_index, edge_attr):
        return self.lin(x) + self.propagate(edge_index, x=x, edge_attr=edge_attr)

    def message(self, x_j, edge_attr):
        return x_j * self.edge_lin(edge_attr).sigmoid()


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = LSTMConv(dataset.num_features, 8, 3)
        self.conv2 = LSTMConv(8, dataset.num_classes, 3)

    def forward(self, data):
        x = self.conv1(data.x, data.edge_index, data.edge_attr).relu()
        return self.conv2(x, data.edge_index, data.edge_attr)


model = Net()
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    out = model(data)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
