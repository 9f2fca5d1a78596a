"""A gated layer whose `message` returns a tuple of values and gates, with an `aggregate` of its own."""

import torch
import torch.nn.functional as F
from torch.nn import Linear
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import scatter

data = fg.open(dataset[0])


class GatedConv(MessagePassing):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.value = Linear(in_channels, out_channels)
        self.gate = Linear(2 * in_channels + 3, out_channels)
        self.skip = Linear(in_channels, out_channels)

    def forward(self, x, edge_index, edge_attr):
        return self.propagate(edge_index, x=x, edge_attr=edge_attr)

    def message(self, x_i, x_j, edge_attr):
        gate = torch.sigmoid(self.gate(torch.cat([x_i, x_j, edge_attr], dim=-1)))
        return gate * self.value(x_j), gate

    def aggregate(self, inputs, index, ptr=None, dim_size=None):
        values, gates = inputs
        numerator = scatter(values, index, dim=0, dim_size=dim_size, reduce="sum")
        denominator = scatter(gates, index, dim=0, dim_size=dim_size, reduce="sum")
        return numerator / (denominator + 1e-6)

    def update(self, aggr_out, x):
        return aggr_out + self.skip(x)


class Net(torch.nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.conv1 = GatedConv(dataset.num_features, hidden)
        self.conv2 = GatedConv(hidden, dataset.num_classes)

    def forward(self, data):
        x = self.conv1(data.x, data.edge_index, data.edge_attr).relu()
        return self.conv2(x, data.edge_index, data.edge_attr)


model = Net(12)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    logits = model(data)
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
out = logits
