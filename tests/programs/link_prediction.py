"""Link prediction as in PyG's example: a dot product over pairs of nodes and binary cross entropy."""

import torch
from torch_geometric.nn import GCNConv

data = fg.open(dataset[0])
g = torch.Generator().manual_seed(0)
neg_edge_index = torch.randint(data.num_nodes, (2, data.num_edges), generator=g)


class Net(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels):
        super().__init__()
        self.conv1 = GCNConv(in_channels, hidden_channels)
        self.conv2 = GCNConv(hidden_channels, out_channels)

    def encode(self, x, edge_index):
        x = self.conv1(x, edge_index).relu()
        return self.conv2(x, edge_index)

    def decode(self, z, edge_label_index):
        return (z[edge_label_index[0]] * z[edge_label_index[1]]).sum(dim=-1)


model = Net(dataset.num_features, 16, 8)
fg.prepare(model, data)
optimizer = torch.optim.Adam(params=model.parameters(), lr=0.01)
criterion = torch.nn.BCEWithLogitsLoss()

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    z = model.encode(data.x, data.edge_index)
    edge_label_index = torch.cat([data.edge_index, neg_edge_index], dim=-1)
    edge_label = torch.cat([torch.ones(data.edge_index.size(1)), torch.zeros(neg_edge_index.size(1))], dim=0)
    loss = criterion(model.decode(z, edge_label_index).view(-1), edge_label)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

with torch.no_grad():
    z = model.encode(data.x, data.edge_index)
    pos, neg = model.decode(z, data.edge_index).sigmoid(), model.decode(z, neg_edge_index).sigmoid()
out = {"z": z, "accuracy": ((pos > 0.5).sum() + (neg <= 0.5).sum()).item() / (pos.numel() + neg.numel())}
