"""The SGFormer model class, with separate weight decay for its two branches."""

import torch
from torch_geometric.nn.models import SGFormer

data = fg.open(dataset[0])
batch = torch.zeros(data.num_nodes, dtype=torch.long)

model = SGFormer(
    in_channels=data.num_features,
    hidden_channels=16,
    out_channels=dataset.num_classes,
    trans_num_layers=1,
    trans_num_heads=2,
    trans_dropout=0.0,
    gnn_num_layers=2,
    gnn_dropout=0.0,
    graph_weight=0.8,
)
fg.prepare(model, data)
optimizer = torch.optim.SGD(
    [{"params": model.params1, "weight_decay": 1e-2}, {"params": model.params2, "weight_decay": 5e-3}], lr=0.01
)
criterion = torch.nn.NLLLoss()

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.edge_index, batch)
    loss = criterion(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

model.eval()
with torch.no_grad():
    out = model(data.x, data.edge_index, batch)
