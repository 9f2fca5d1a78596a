"""SGFormer in the form of its authors' code: one linear attention over all nodes, plus a GCN."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch_geometric.nn import GCNConv

data = fg.open(dataset[0])


class SimpleAttention(nn.Module):
    def __init__(self, in_channels, out_channels, num_heads):
        super().__init__()
        self.Wq = nn.Linear(in_channels, out_channels * num_heads)
        self.Wk = nn.Linear(in_channels, out_channels * num_heads)
        self.Wv = nn.Linear(in_channels, out_channels * num_heads)
        self.shape = (-1, num_heads, out_channels)

    def forward(self, x):
        q, k, v = (lin(x).view(self.shape) for lin in (self.Wq, self.Wk, self.Wv))  # [N, H, M]
        q = q / torch.norm(q, p=2)
        k = k / torch.norm(k, p=2)
        N = x.size(0)
        kv = torch.einsum("lhm,lhd->hmd", k, v)
        numerator = torch.einsum("nhm,hmd->nhd", q, kv) + N * v
        normaliser = torch.einsum("nhm,hm->nh", q, k.sum(0)) + N
        return (numerator / normaliser.unsqueeze(-1)).mean(dim=1)


class SGFormer(nn.Module):
    def __init__(self, in_channels, hidden, out_channels, num_layers=2, alpha=0.5, graph_weight=0.8):
        super().__init__()
        self.fc_in = nn.Linear(in_channels, hidden)
        self.attns = nn.ModuleList([SimpleAttention(hidden, hidden, num_heads=2) for _ in range(num_layers)])
        self.norms = nn.ModuleList([nn.LayerNorm(hidden) for _ in range(num_layers + 1)])
        self.gcn1, self.gcn2 = GCNConv(in_channels, hidden), GCNConv(hidden, hidden)
        self.fc_out = nn.Linear(hidden, out_channels)
        self.alpha, self.graph_weight = alpha, graph_weight

    def forward(self, x, edge_index):
        z = F.relu(self.norms[0](self.fc_in(x)))
        for attn, norm in zip(self.attns, self.norms[1:], strict=True):
            z = norm(self.alpha * attn(z) + (1 - self.alpha) * z)
        h = self.gcn2(F.relu(self.gcn1(x, edge_index)), edge_index)
        return self.fc_out(self.graph_weight * h + (1 - self.graph_weight) * z)


model = SGFormer(data.num_features, 12, int(data.y.max()) + 1)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
losses = []
for _ in range(4):
    optimizer.zero_grad()
    logits = model(data.x, data.edge_index)
    loss = F.nll_loss(F.log_softmax(logits, dim=1)[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
out = logits
