"""Jumping knowledge with the bidirectional LSTM over the GAT model class (jk='lstm')."""

import torch
import torch.nn.functional as F
from torch_geometric.nn.models import GAT

data = fg.open(dataset[0])

model = GAT(
    in_channels=dataset.num_features,
    hidden_channels=8,
    num_layers=3,
    out_channels=dataset.num_classes,
    heads=2,
    jk="lstm",
)
fg.prepare(model, data)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)[data.train_mask]
    loss = F.cross_entropy(out, data.y[data.train_mask], label_smoothing=0.1)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

with torch.no_grad():
    out = model(data.x, data.edge_index).softmax(dim=-1)
