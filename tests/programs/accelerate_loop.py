"""A training loop with Hugging Face's accelerate: its own backward, clipping and accumulation of gradients."""

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch_geometric.nn import GCN

accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
data = fg.open(dataset[0])
model = GCN(dataset.num_features, 16, num_layers=2, out_channels=dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
model, optimizer, scheduler = accelerator.prepare(model, optimizer, scheduler)

losses = []
for _ in range(4):
    with accelerator.accumulate(model):
        out = model(data.x, data.edge_index)
        loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
        accelerator.backward(loss)
        if accelerator.sync_gradients:
            accelerator.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    losses.append(loss.item())

model = accelerator.unwrap_model(model)
