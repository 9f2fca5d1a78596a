"""torch.compile as most call it, around a model and, in place, within one."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCN

data = fg.open(dataset[0])
model = GCN(dataset.num_features, 16, num_layers=2, out_channels=16)
head = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.ReLU(), torch.nn.Linear(16, dataset.num_classes))
fg.prepare(model, data)
compiled = torch.compile(model)
head.compile()
optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=0.01)

losses = []
for _ in range(3):
    optimizer.zero_grad()
    out = head(compiled(data.x, data.edge_index))
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
