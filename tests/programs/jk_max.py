"""Jumping knowledge by maximum over GCN layers, kept as one loop over epochs."""

import torch
import torch.nn as nn
from torch_geometric.nn import GCNConv, JumpingKnowledge

data = fg.open(dataset[0])


class JKMax(nn.Module):
    def __init__(self, nfeat, nhid, nclass):
        super().__init__()
        self.gc1 = GCNConv(nfeat, nhid)
        self.gc2 = GCNConv(nhid, nhid)
        self.gc3 = GCNConv(nhid, nhid)
        self.jump = JumpingKnowledge(mode="max")
        self.head = nn.Sequential(nn.Linear(nhid, nhid), nn.ReLU(), nn.Linear(nhid, nclass))

    def forward(self, x, adj):
        h1 = torch.tanh(self.gc1(x, adj))
        h2 = torch.tanh(self.gc2(h1, adj))
        h3 = torch.tanh(self.gc3(h2, adj))
        return self.head(self.jump([h1, h2, h3]))


model = JKMax(data.num_node_features, 16, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1e-4)
loss_fn = nn.CrossEntropyLoss()

losses = []
val_loss = []
for _ in range(4):
    model.train()
    logits = model(data.x, data.edge_index)
    loss = loss_fn(logits[data.train_mask], data.y[data.train_mask])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        logits = model(data.x, data.edge_index)
        val_loss.append(loss_fn(logits[data.val_mask], data.y[data.val_mask]).item())
out = {"val_loss": val_loss, "logits": logits}
