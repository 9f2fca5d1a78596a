"""Adam with foreach=True and amsgrad, its state saved and loaded between the epochs."""

import io

import torch
import torch.nn.functional as F
from torch_geometric.nn import GAT

data = fg.open(dataset[0])
model = GAT(data.num_features, 8, num_layers=2, out_channels=dataset.num_classes, heads=2)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, foreach=True, amsgrad=True)
fg.prepare(model, data)


def train():
    model.train()
    optimizer.zero_grad(set_to_none=False)
    logits = model(data.x, data.edge_index)
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    return loss.item()


losses = [train() for _ in range(2)]

buffer = io.BytesIO()
torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, buffer)
train()  # forgotten again
buffer.seek(0)
checkpoint = torch.load(buffer)
model.load_state_dict(checkpoint["model"])
optimizer.load_state_dict(checkpoint["optimizer"])

losses += [train() for _ in range(2)]
out = model(data.x, data.edge_index)
