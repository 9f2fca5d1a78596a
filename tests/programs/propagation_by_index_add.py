"""Propagation written by hand: sources by indexing and index_add_ into zeros, with a weight per edge."""

import torch
import torch.nn.functional as F

data = fg.open(dataset[0])


class Layer(torch.nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.lin = torch.nn.Linear(in_channels, out_channels, bias=False)
        self.root = torch.nn.Linear(in_channels, out_channels)

    def forward(self, x, edge_index):
        row, col = edge_index
        msg = self.lin(x)[row] * data.edge_weight.unsqueeze(-1)
        out = msg.new_zeros(x.size(0), msg.size(-1)).index_add_(0, col, msg)
        count = x.new_zeros(x.size(0)).index_add_(0, col, torch.ones_like(data.edge_weight))
        return out / count.clamp(min=1).unsqueeze(-1) + self.root(x)


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
