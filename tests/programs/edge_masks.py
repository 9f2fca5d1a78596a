"""Strong edges and weak ones, told apart by a mask over the edges, each with a convolution of its own."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCNConv

data = fg.open(dataset[0])
mask = data.edge_weight > 0.8
strong_index, strong_weight = data.edge_index[:, mask], data.edge_weight[mask]
weak_index = data.edge_index[:, ~mask]


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.strong = GCNConv(dataset.num_features, 16)
        self.weak = GCNConv(dataset.num_features, 16)
        self.out = GCNConv(16, dataset.num_classes)

    def forward(self, x):
        h = self.strong(x, strong_index, strong_weight) + self.weak(x, weak_index)
        return self.out(F.relu(h), strong_index, strong_weight)


model = Net()
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    logits = model(data.x)
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

out = {"logits": logits, "strong": strong_index.size(1), "weak": int((~mask).sum())}
