"""Gradients clipped by their norm and a StepLR schedule, with PyG's own GIN."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GIN

data = fg.open(dataset[0])
model = GIN(data.num_features, 16, num_layers=2, out_channels=dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)

losses, norms, lrs = [], [], []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=0.5).item())
    optimizer.step()
    scheduler.step()
    losses.append(loss.item())
    lrs.append(scheduler.get_last_lr()[0])

out = {"logits": out, "norms": norms, "lrs": lrs}
