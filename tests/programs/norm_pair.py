"""PairNorm between GCN layers, as against oversmoothing."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCNConv, PairNorm

data = fg.open(dataset[0])


class Net(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels, num_layers=3):
        super().__init__()
        self.convs, self.norms = torch.nn.ModuleList(), torch.nn.ModuleList()
        for i in range(num_layers):
            self.convs.append(GCNConv(in_channels if i == 0 else hidden_channels, hidden_channels))
            self.norms.append(PairNorm(scale=1.0, scale_individually=i % 2 == 1))
        self.lin = torch.nn.Linear(hidden_channels, out_channels)

    def forward(self, x, edge_index):
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = norm(conv(x, edge_index))
            x = F.relu(x)
        return self.lin(x)


model = Net(dataset.num_features, 12, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    logits = model(data.x, data.edge_index)
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

with torch.no_grad():
    out = model.eval()(data.x, data.edge_index)
