"""Residual GENConv blocks of which some recompute their activations in the backward pass (ckpt_grad)."""

import torch
import torch.nn.functional as F
from torch.nn import BatchNorm1d, Linear, ReLU
from torch_geometric.nn import DeepGCNLayer, GENConv

data = fg.open(dataset[0])


class DeepGCN(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels, num_layers):
        super().__init__()
        self.encoder = Linear(in_channels, hidden_channels)
        self.layers = torch.nn.ModuleList()
        for i in range(1, num_layers + 1):
            conv = GENConv(hidden_channels, hidden_channels, aggr="powermean", num_layers=1)
            norm = BatchNorm1d(hidden_channels)
            self.layers.append(DeepGCNLayer(conv, norm, ReLU(), block="res", dropout=0.0, ckpt_grad=i % 3))
        self.decoder = Linear(hidden_channels, out_channels)

    def forward(self, x, edge_index):
        x = self.encoder(x)
        for layer in self.layers:
            x = layer(x, edge_index)
        return self.decoder(x)


model = DeepGCN(dataset.num_features, 8, dataset.num_classes, num_layers=3)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    logits = model(data.x, data.edge_index)
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

model.eval()
out = model(data.x, data.edge_index)
