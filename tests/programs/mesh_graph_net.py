"""MeshGraphNet: an encoder, processor layers that update nodes and edges, and a decoder of accelerations."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import scatter

data = fg.open(dataset[0])


def mlp(c_in, c_hidden, c_out):
    return nn.Sequential(nn.Linear(c_in, c_hidden), nn.ReLU(), nn.Linear(c_hidden, c_out), nn.LayerNorm(c_out))


class ProcessorLayer(MessagePassing):
    def __init__(self, dim):
        super().__init__()
        self.edge_mlp = mlp(3 * dim, dim, dim)
        self.node_mlp = mlp(2 * dim, dim, dim)

    def forward(self, x, edge_index, edge_attr):
        updated_edges, aggregated = self.propagate(edge_index, x=x, edge_attr=edge_attr)
        return x + self.node_mlp(torch.cat([x, aggregated], dim=1)), updated_edges

    def message(self, x_i, x_j, edge_attr):
        return self.edge_mlp(torch.cat([x_i, x_j, edge_attr], dim=1)) + edge_attr

    def aggregate(self, updated_edges, index, dim_size=None):
        return updated_edges, scatter(updated_edges, index, dim=0, dim_size=dim_size, reduce="sum")


class MeshGraphNet(nn.Module):
    def __init__(self, node_dim, edge_dim, hidden, out_dim, num_layers):
        super().__init__()
        self.node_encoder = mlp(node_dim, hidden, hidden)
        self.edge_encoder = mlp(edge_dim, hidden, hidden)
        self.processor = nn.ModuleList([ProcessorLayer(hidden) for _ in range(num_layers)])
        self.decoder = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, out_dim))

    def forward(self, data):
        x, edge_attr = self.node_encoder(data.x), self.edge_encoder(data.edge_attr)
        for layer in self.processor:
            x, edge_attr = layer(x, data.edge_index, edge_attr)
        return self.decoder(x), edge_attr


model = MeshGraphNet(dataset.num_features, 3, 10, 3, num_layers=3)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
losses = []
for _ in range(4):
    optimizer.zero_grad()
    pred, _ = model(data)
    loss = F.mse_loss(pred[data.train_mask], data.pos[data.train_mask]).sqrt()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
velocity, edges = model(data)
out = {"velocity": velocity, "edges": edges}
