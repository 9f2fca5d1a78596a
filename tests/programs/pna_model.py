"""The PNA class of `torch_geometric.nn.models` with a degree histogram and batch normalisation."""

import torch
from torch_geometric.nn import PNA
from torch_geometric.utils import degree

data = fg.open(dataset[0])

deg = torch.bincount(degree(data.edge_index[1], data.num_nodes, dtype=torch.long), minlength=10)
model = PNA(
    in_channels=dataset.num_features,
    hidden_channels=8,
    num_layers=2,
    out_channels=dataset.num_classes,
    norm="batch_norm",
    aggregators=["sum", "mean", "max", "var"],
    scalers=["identity", "linear"],
    deg=deg,
)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, amsgrad=True)
criterion = torch.nn.CrossEntropyLoss()


def train():
    model.train()
    optimizer.zero_grad()
    h = model(data.x, data.edge_index)
    loss = criterion(h[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    return loss.item()


losses = [train() for _ in range(4)]
model.eval()
out = model(data.x, data.edge_index).detach()
