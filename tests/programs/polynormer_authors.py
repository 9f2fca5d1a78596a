"""Polynormer in the form of its authors' code: local attention, then linear global attention with sigmoid gates."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch_geometric.nn import GATConv

data = fg.open(dataset[0])


class GlobalAttention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.h_lin, self.q, self.k, self.v = (nn.Linear(dim, dim) for _ in range(4))
        self.beta = nn.Parameter(torch.zeros(dim))
        self.ln, self.heads = nn.LayerNorm(dim), heads

    def forward(self, x):
        n = x.size(0)
        q, k, v = (lin(x).view(n, -1, self.heads) for lin in (self.q, self.k, self.v))
        q, k = torch.sigmoid(q), torch.sigmoid(k)
        kv = torch.einsum("ndh,nmh->dmh", k, v)
        den = torch.einsum("ndh,dh->nh", q, k.sum(dim=0)).unsqueeze(1)
        attended = (torch.einsum("ndh,dmh->nmh", q, kv) / (den + 1e-6)).reshape(n, -1)
        return self.ln(attended) * (self.h_lin(x) + torch.sigmoid(self.beta))


class Polynormer(nn.Module):
    def __init__(self, c_in, dim, c_out, local_layers=2, heads=2):
        super().__init__()
        self._global = False
        self.lin_in = nn.Linear(c_in, dim)
        self.convs = nn.ModuleList(
            [GATConv(dim, dim // heads, heads, add_self_loops=False) for _ in range(local_layers)]
        )
        self.lins = nn.ModuleList([nn.Linear(dim, dim) for _ in range(local_layers)])
        self.gates = nn.ModuleList([nn.Linear(dim, dim) for _ in range(local_layers)])
        self.betas = nn.Parameter(torch.full((local_layers, dim), 0.5))
        self.ln, self.attn = nn.LayerNorm(dim), GlobalAttention(dim, heads)
        self.pred_local, self.pred_global = nn.Linear(dim, c_out), nn.Linear(dim, c_out)

    def forward(self, x, edge_index):
        x, x_local = self.lin_in(x), 0
        for beta, conv, lin, gate in zip(torch.sigmoid(self.betas), self.convs, self.lins, self.gates, strict=True):
            h = F.relu(gate(x))
            x = F.relu(conv(x, edge_index) + lin(x))
            x = (1 - beta) * F.layer_norm(h * x, x.shape[1:]) + beta * x
            x_local = x_local + x
        return self.pred_global(self.attn(self.ln(x_local))) if self._global else self.pred_local(x_local)


model = Polynormer(dataset.num_features, 12, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
losses = []
for epoch in range(4):
    model._global = epoch >= 2
    optimizer.zero_grad()
    loss = F.cross_entropy(model(data.x, data.edge_index)[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
out = model(data.x, data.edge_index)
