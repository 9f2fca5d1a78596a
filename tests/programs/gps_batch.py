"""GPS given a batch vector (one graph), with positions as encoding and graph normalisation."""

import torch
import torch.nn.functional as F
from torch.nn import BatchNorm1d, Linear
from torch_geometric.nn import GCNConv, GPSConv, global_mean_pool

data = fg.open(dataset[0])
data.batch = torch.zeros(data.num_nodes, dtype=torch.long)


class GPS(torch.nn.Module):
    def __init__(self, channels, pe_dim, num_layers):
        super().__init__()
        self.node_emb = Linear(dataset.num_features, channels - pe_dim)
        self.pe_lin = Linear(3, pe_dim)
        self.pe_norm = BatchNorm1d(3)
        self.convs = torch.nn.ModuleList(
            [
                GPSConv(channels, GCNConv(channels, channels), heads=2, norm="graph_norm", attn_kwargs={"dropout": 0.0})
                for _ in range(num_layers)
            ]
        )
        self.lin = Linear(2 * channels, dataset.num_classes)

    def forward(self, x, pe, edge_index, batch):
        x = torch.cat((self.node_emb(x), self.pe_lin(self.pe_norm(pe))), 1)
        for conv in self.convs:
            x = conv(x, edge_index, batch)
        context = global_mean_pool(x, batch)
        return self.lin(torch.cat([x, context[batch]], dim=-1))


model = GPS(channels=16, pe_dim=4, num_layers=2)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.001)

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.pos, data.edge_index, data.batch)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
out = model(data.x, data.pos, data.edge_index, data.batch)
