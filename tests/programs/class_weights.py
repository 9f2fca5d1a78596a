"""Cross entropy with class weights made from the counts of the training labels."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCNConv

data = fg.open(dataset[0])
counts = torch.bincount(data.y[data.train_mask], minlength=dataset.num_classes)
weight = counts.sum() / (dataset.num_classes * counts.clamp(min=1).to(data.x.dtype))


class GCN(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels):
        super().__init__()
        self.conv1 = GCNConv(in_channels, hidden_channels)
        self.conv2 = GCNConv(hidden_channels, out_channels)

    def forward(self, x, edge_index):
        x = self.conv1(x, edge_index).relu()
        return self.conv2(x, edge_index)


model = GCN(dataset.num_features, 16, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)

losses = []
for epoch in range(4):
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask], weight=weight)
    loss.backward()
    optimizer.step()
    losses.append(float(loss.detach()))
    print(f"Epoch: {epoch:03d}, Loss: {loss:.4f}")

out = {"logits": out, "weight": weight}
