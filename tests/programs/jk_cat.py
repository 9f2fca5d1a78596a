"""Jumping knowledge by concatenation over three SAGE layers."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import JumpingKnowledge, SAGEConv

data = fg.open(dataset[0])


class JKNet(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels, num_layers=3):
        super().__init__()
        self.convs = torch.nn.ModuleList()
        for i in range(num_layers):
            self.convs.append(SAGEConv(in_channels if i == 0 else hidden_channels, hidden_channels))
        self.jk = JumpingKnowledge("cat")
        self.lin = torch.nn.Linear(num_layers * hidden_channels, out_channels)

    def forward(self, x, edge_index):
        xs = []
        for conv in self.convs:
            x = conv(x, edge_index).relu()
            xs += [x]
        return self.lin(self.jk(xs))


model = JKNet(dataset.num_features, 12, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    logits = model(data.x, data.edge_index)
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
out = logits
