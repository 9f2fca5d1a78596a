"""Propagation written by hand: gather of the sources and scatter_add_ with expanded indices."""

import torch
import torch.nn.functional as F

data = fg.open(dataset[0])


class Layer(torch.nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.lin = torch.nn.Linear(in_channels, out_channels, bias=False)
        self.root = torch.nn.Linear(in_channels, out_channels)

    def forward(self, x, edge_index):
        h = self.lin(x)
        src = edge_index[0].unsqueeze(-1).expand(-1, h.size(-1))
        dst = edge_index[1].unsqueeze(-1).expand(-1, h.size(-1))
        msg = h.gather(0, src)
        out = torch.zeros_like(h).scatter_add_(0, dst, msg)
        return out / edge_index.size(1) ** 0.5 + self.root(x)


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
