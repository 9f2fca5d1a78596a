"""Steps of an optimizer as trainers make them: Adam with a closure, and with None in the closure's place."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GraphSAGE

data = fg.open(dataset[0])
model = GraphSAGE(dataset.num_features, 16, num_layers=2, out_channels=dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)


def closure():
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    return loss


losses = []
for _ in range(3):
    losses.append(optimizer.step(closure=closure).item())
    losses.append(closure().item())
    optimizer.step(None)
