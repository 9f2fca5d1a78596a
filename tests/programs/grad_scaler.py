"""A GradScaler on the CPU; at the second step one node's loss is infinite, so the step is skipped everywhere."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCN

data = fg.open(dataset[0])
model = GCN(data.num_features, 16, num_layers=2, out_channels=dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2)
node_weight = torch.ones(data.num_nodes)
broken_weight = torch.ones(data.num_nodes)
broken_weight[17] = float("inf")

losses, scales = [], []
for step in range(4):
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)
    loss = F.cross_entropy(out, data.y, reduction="none")
    loss = (loss * (broken_weight if step == 1 else node_weight)).mean()
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    scaler.step(optimizer)
    scaler.update()
    losses.append(loss.item())
    scales.append(scaler.get_scale())

out = {"logits": out, "scales": scales}
