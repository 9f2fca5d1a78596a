"""Layers under torch.utils.checkpoint, which runs them again in backward."""

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint
from torch_geometric.nn import SAGEConv

data = fg.open(dataset[0])


class DeepSAGE(torch.nn.Module):
    def __init__(self, channels=16, num_layers=3):
        super().__init__()
        self.lin_in = torch.nn.Linear(dataset.num_features, channels)
        self.convs = torch.nn.ModuleList([SAGEConv(channels, channels) for _ in range(num_layers)])
        self.norms = torch.nn.ModuleList([torch.nn.LayerNorm(channels) for _ in range(num_layers)])
        self.lin_out = torch.nn.Linear(channels, dataset.num_classes)

    def forward(self, x, edge_index):
        x = self.lin_in(x)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            h = checkpoint(conv, F.relu(norm(x)), edge_index, use_reentrant=False)
            x = x + h
        return self.lin_out(x)


model = DeepSAGE()
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.005)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
