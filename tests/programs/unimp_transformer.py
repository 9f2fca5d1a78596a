"""UniMP-like network of TransformerConv layers with gated residuals and layer normalisation."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import TransformerConv

data = fg.open(dataset[0])


class UniMP(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, num_classes, num_layers, heads):
        super().__init__()
        self.convs = torch.nn.ModuleList()
        self.norms = torch.nn.ModuleList()
        for i in range(1, num_layers + 1):
            if i < num_layers:
                out_channels, concat = hidden_channels // heads, True
            else:
                out_channels, concat = num_classes, False
            conv = TransformerConv(in_channels, out_channels, heads, concat=concat, beta=True, edge_dim=3)
            self.convs.append(conv)
            in_channels = hidden_channels
            if i < num_layers:
                self.norms.append(torch.nn.LayerNorm(hidden_channels))

    def forward(self, x, edge_index, edge_attr):
        for conv, norm in zip(self.convs[:-1], self.norms, strict=True):
            x = norm(conv(x, edge_index, edge_attr)).relu()
        return self.convs[-1](x, edge_index, edge_attr)


model = UniMP(dataset.num_features, 16, dataset.num_classes, num_layers=3, heads=2)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.001, weight_decay=0.0005)

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.edge_index, data.edge_attr)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
out = model(data.x, data.edge_index, data.edge_attr)
