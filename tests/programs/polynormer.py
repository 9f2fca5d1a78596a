"""The Polynormer model class: two local steps, then two local-to-global steps."""

import torch
import torch.nn.functional as F
from torch_geometric.nn.models import Polynormer

data = fg.open(dataset[0])
batch = data.edge_index.new_zeros(data.num_nodes)

model = Polynormer(
    in_channels=dataset.num_features,
    hidden_channels=16,
    out_channels=dataset.num_classes,
    local_layers=2,
    global_layers=1,
    in_dropout=0.0,
    dropout=0.0,
    global_dropout=0.0,
    local_attn=True,
)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for epoch in range(4):
    if epoch == 2:
        model._global = True
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.edge_index, batch)
    loss = F.nll_loss(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

model.eval()
with torch.no_grad():
    out = model(data.x, data.edge_index, batch)
