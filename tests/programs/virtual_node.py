"""GIN with a virtual node, as OGB's code has it: sums over the graph by the batch vector and back."""

import torch
import torch.nn.functional as F
from torch import nn
from torch_geometric.nn import GINConv, global_add_pool

data = fg.open(dataset[0])
batch = torch.zeros(data.num_nodes, dtype=torch.long)


def mlp(dim):
    return nn.Sequential(nn.Linear(dim, 2 * dim), nn.BatchNorm1d(2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))


class GINVirtualNode(nn.Module):
    def __init__(self, dim, num_layers=2):
        super().__init__()
        self.encoder = nn.Linear(dataset.num_features, dim)
        self.virtual = nn.Embedding(1, dim)
        nn.init.constant_(self.virtual.weight.data, 0)
        self.convs = nn.ModuleList([GINConv(mlp(dim)) for _ in range(num_layers)])
        self.virtual_mlp = nn.Sequential(nn.Linear(dim, dim), nn.LayerNorm(dim), nn.ReLU())
        self.head = nn.Linear(dim, dataset.num_classes)

    def forward(self, x, edge_index, batch):
        v = self.virtual(torch.zeros(int(batch[-1]) + 1, dtype=torch.long))
        h = self.encoder(x)
        for conv in self.convs:
            h = h + v[batch]
            v = v + self.virtual_mlp(global_add_pool(h, batch) + v)
            h = conv(h, edge_index).relu()
        return self.head(h), v


model = GINVirtualNode(10)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    logits, v = model(data.x, data.edge_index, batch)
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
out = {"logits": logits, "virtual": v}
