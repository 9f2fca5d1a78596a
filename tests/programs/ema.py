"""An exponential moving average of the weights with torch.optim.swa_utils, used for evaluation."""

import torch
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch_geometric.nn import GraphSAGE

data = fg.open(dataset[0])
model = GraphSAGE(data.num_features, 16, num_layers=2, out_channels=dataset.num_classes)
fg.prepare(model, data)
ema_model = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    ema_model.update_parameters(model)
    losses.append(loss.item())

ema_model.eval()
with torch.no_grad():
    out = ema_model(data.x, data.edge_index)
models = [model, ema_model]
