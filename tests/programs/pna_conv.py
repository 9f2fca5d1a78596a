"""PNAConv with towers, whose degree histogram is computed from the graph."""

import torch
import torch.nn.functional as F
from torch.nn import ModuleList
from torch_geometric.nn import BatchNorm, PNAConv
from torch_geometric.utils import degree

data = fg.open(dataset[0])

# Compute the in-degree histogram over the training graph.
d = degree(data.edge_index[1], data.num_nodes, dtype=torch.long)
deg = torch.bincount(d)


class Net(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels):
        super().__init__()
        aggregators = ["mean", "min", "max", "std"]
        scalers = ["identity", "amplification", "attenuation"]
        self.lin_in = torch.nn.Linear(in_channels, hidden_channels)
        self.convs = ModuleList()
        self.batch_norms = ModuleList()
        for _ in range(2):
            conv = PNAConv(
                in_channels=hidden_channels,
                out_channels=hidden_channels,
                aggregators=aggregators,
                scalers=scalers,
                deg=deg,
                edge_dim=3,
                towers=2,
            )
            self.convs.append(conv)
            self.batch_norms.append(BatchNorm(hidden_channels))
        self.lin_out = torch.nn.Linear(hidden_channels, out_channels)

    def forward(self, x, edge_index, edge_attr):
        x = self.lin_in(x)
        for conv, batch_norm in zip(self.convs, self.batch_norms, strict=True):
            x = F.relu(batch_norm(conv(x, edge_index, edge_attr)))
        return self.lin_out(x)


model = Net(dataset.num_features, 8, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.001)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    pred = model(data.x, data.edge_index, data.edge_attr)
    loss = F.cross_entropy(pred[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

out = {"pred": pred, "deg": deg, "mean_degree": d.double().mean().item()}
