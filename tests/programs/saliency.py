"""Saliency: the gradient of the predicted class scores by the input features, after training."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCNConv

data = fg.open(dataset[0])


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
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    logits = model(data.x, data.edge_index)
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

model.eval()
x = data.x.clone().requires_grad_()
logits = model(x, data.edge_index)
score = logits[data.test_mask].max(dim=1).values.sum()
(saliency,) = torch.autograd.grad(score, x)
node_importance = saliency.abs().sum(dim=-1)

node_idx = 17
x = data.x.clone().requires_grad_()
F.log_softmax(model(x, data.edge_index), dim=-1)[node_idx, 1].backward()

out = {"saliency": saliency, "nodes": node_importance, "features": saliency.abs().mean(dim=0), "of one node": x.grad}
