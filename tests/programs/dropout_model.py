"""GCN with dropout of one half in training, evaluated without it."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCNConv

draws = True
data = fg.open(dataset[0])


class GCN(torch.nn.Module):
    def __init__(self, hidden_channels):
        super().__init__()
        self.conv1 = GCNConv(dataset.num_features, hidden_channels)
        self.conv2 = GCNConv(hidden_channels, dataset.num_classes)
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, x, edge_index):
        x = self.conv1(self.dropout(x), edge_index).relu()
        x = self.dropout(x)
        return self.conv2(x, edge_index)


model = GCN(hidden_channels=16)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

model.eval()
with torch.no_grad():
    out = model(data.x, data.edge_index)
