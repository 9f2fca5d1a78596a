"""Propagation written by hand: an MLP on both end points and the edge's attributes, summed by index_add."""

import torch
import torch.nn.functional as F

data = fg.open(dataset[0])


class Layer(torch.nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.lin = torch.nn.Linear(in_channels, out_channels, bias=False)
        self.root = torch.nn.Linear(in_channels, out_channels)
        self.edge_lin = torch.nn.Linear(2 * in_channels + 3, in_channels)

    def forward(self, x, edge_index):
        row, col = edge_index
        edge_in = torch.cat([x[row], x[col], data.edge_attr], dim=-1)
        msg = F.relu(self.edge_lin(edge_in))
        agg = torch.zeros(x.shape[0], msg.shape[1], dtype=x.dtype).index_add(0, col, msg)
        return self.lin(agg) / 10 + self.root(x)


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
