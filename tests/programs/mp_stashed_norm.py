"""A MessagePassing layer that keeps the norm of each edge on itself in `forward` for its `message`."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import degree

data = fg.open(dataset[0])


class NormConv(MessagePassing):
    def __init__(self, in_channels, out_channels):
        super().__init__(aggr="add")
        self.weight = torch.nn.Parameter(torch.empty(in_channels, out_channels))
        self.bias = torch.nn.Parameter(torch.zeros(out_channels))
        torch.nn.init.xavier_uniform_(self.weight)

    def forward(self, x, edge_index, edge_weight):
        row, col = edge_index
        deg = degree(col, x.size(0), dtype=x.dtype)
        self.norm = edge_weight / (deg[row] * deg[col]).clamp(min=1).sqrt()
        return self.propagate(edge_index, x=x @ self.weight) + self.bias

    def message(self, x_j):
        return self.norm.view(-1, 1) * x_j


class Net(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.convs = torch.nn.ModuleList([NormConv(channels[i], channels[i + 1]) for i in range(len(channels) - 1)])

    def forward(self, x, edge_index, edge_weight):
        for i, conv in enumerate(self.convs):
            x = conv(x, edge_index, edge_weight)
            if i + 1 < len(self.convs):
                x = torch.tanh(x)
        return x


model = Net([dataset.num_features, 16, 16, dataset.num_classes])
fg.prepare(model, data)
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    logits = model(data.x, data.edge_index, data.edge_weight)
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
out = logits
