"""Trains on a graph and tests on another one: half of its edges, turned round, and features scaled."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import SAGEConv

data = fg.open(dataset[0])
shifted = dataset[0].clone()
shifted.edge_index = shifted.edge_index[:, ::2].flip(0)
shifted.edge_attr, shifted.edge_weight = shifted.edge_attr[::2], shifted.edge_weight[::2]
shifted.x = shifted.x * 1.5
test_data = fg.open(shifted)


class SAGE(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels):
        super().__init__()
        self.conv1 = SAGEConv(in_channels, hidden_channels)
        self.conv2 = SAGEConv(hidden_channels, out_channels)

    def forward(self, x, edge_index):
        return self.conv2(self.conv1(x, edge_index).relu(), edge_index)


model = SAGE(data.num_features, 16, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses, test_losses = [], []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    logits = model(data.x, data.edge_index)
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

    model.eval()
    with torch.no_grad():
        shifted_logits = model(test_data.x, test_data.edge_index)
        test_losses.append(F.cross_entropy(shifted_logits, test_data.y).item())

out = {"logits": logits, "shifted": shifted_logits, "test_losses": test_losses}
