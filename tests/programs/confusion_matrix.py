"""A confusion matrix by bincount, and recall and precision from it."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCNConv

data = fg.open(dataset[0])
C = dataset.num_classes


class GCN(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels):
        super().__init__()
        self.conv1 = GCNConv(in_channels, hidden_channels)
        self.conv2 = GCNConv(hidden_channels, out_channels)

    def forward(self, x, edge_index):
        x = self.conv1(x, edge_index).relu()
        return self.conv2(x, edge_index)


model = GCN(dataset.num_features, 16, C)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.05)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    logits = model(data.x, data.edge_index)
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

pred = logits.argmax(dim=1)
confusion = torch.bincount(data.y * C + pred, minlength=C * C).view(C, C)
mask = ~data.train_mask
held_out = torch.bincount(data.y[mask] * C + pred[mask], minlength=C * C).reshape(C, C)
recall = confusion.diag() / confusion.sum(dim=1)
precision = confusion.diag() / confusion.sum(dim=0).clamp(min=1)
out = {"confusion": confusion, "held_out": held_out, "recall": recall, "precision": precision}
