"""MeshGraphNet whose `aggregate` sums the updated edges by the row of their sources."""

import torch
import torch.nn as nn
from torch.nn import LayerNorm, Linear, ReLU, Sequential
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.utils import scatter

data = fg.open(dataset[0])


class ProcessorLayer(MessagePassing):
    def __init__(self, in_channels, out_channels, **kwargs):
        super().__init__(**kwargs)
        self.edge_mlp = Sequential(
            Linear(3 * in_channels, out_channels), ReLU(), Linear(out_channels, out_channels), LayerNorm(out_channels)
        )
        self.node_mlp = Sequential(
            Linear(2 * in_channels, out_channels), ReLU(), Linear(out_channels, out_channels), LayerNorm(out_channels)
        )

    def forward(self, x, edge_index, edge_attr, size=None):
        out, updated_edges = self.propagate(edge_index, x=x, edge_attr=edge_attr, size=size)
        updated_nodes = x + self.node_mlp(torch.cat([x, out], dim=1))
        return updated_nodes, updated_edges

    def message(self, x_i, x_j, edge_attr):
        return self.edge_mlp(torch.cat([x_i, x_j, edge_attr], dim=1)) + edge_attr

    def aggregate(self, updated_edges, edge_index, dim_size=None):
        out = scatter(updated_edges, edge_index[0, :], dim=0, dim_size=dim_size, reduce="sum")
        return out, updated_edges


class Net(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.node_encoder, self.edge_encoder = Linear(dataset.num_features, hidden), Linear(3, hidden)
        self.processor = nn.ModuleList([ProcessorLayer(hidden, hidden) for _ in range(2)])
        self.decoder = Linear(hidden, dataset.num_classes)

    def forward(self, x, edge_index, edge_attr):
        x, edge_attr = self.node_encoder(x), self.edge_encoder(edge_attr)
        for layer in self.processor:
            x, edge_attr = layer(x, edge_index, edge_attr)
        return self.decoder(x)


model = Net(10)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
losses = []
for _ in range(4):
    optimizer.zero_grad()
    out = model(data.x, data.edge_index, data.edge_attr)
    loss = nn.functional.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
