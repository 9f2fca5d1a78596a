"""GINE with edge attributes lifted by the layer (edge_dim)."""

import torch
from torch import nn
from torch_geometric.nn import BatchNorm, GINEConv

data = fg.open(dataset[0])


def mlp(c_in, c_out):
    return nn.Sequential(nn.Linear(c_in, c_out), nn.ReLU(), nn.Linear(c_out, c_out))


class GINE(nn.Module):
    def __init__(self, in_channels, hidden, out_channels, edge_dim):
        super().__init__()
        self.conv1 = GINEConv(mlp(in_channels, hidden), edge_dim=edge_dim)
        self.bn1 = BatchNorm(hidden)
        self.conv2 = GINEConv(mlp(hidden, hidden), eps=0.1, edge_dim=edge_dim)
        self.bn2 = BatchNorm(hidden)
        self.classifier = nn.Linear(hidden, out_channels)

    def forward(self, x, edge_index, edge_attr):
        x = self.bn1(self.conv1(x, edge_index, edge_attr)).relu()
        x = self.bn2(self.conv2(x, edge_index, edge_attr)).relu()
        return self.classifier(x), x


model = GINE(dataset.num_features, 16, dataset.num_classes, data.num_edge_features)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
criterion = nn.CrossEntropyLoss()

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    logits, _ = model(data.x, data.edge_index, data.edge_attr)
    loss = criterion(logits[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

model.eval()
logits, embedding = model(data.x, data.edge_index, data.edge_attr)
out = {"logits": logits, "embedding": embedding}
