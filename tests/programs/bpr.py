"""LightGCN's ranking: embeddings of all nodes, averaged over layers, and a BPR loss."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import LGConv

data = fg.open(dataset[0])
g = torch.Generator().manual_seed(5)
users = torch.randint(data.num_nodes, (64,), generator=g)
pos_items = torch.randint(data.num_nodes, (64,), generator=g)
neg_items = torch.randint(data.num_nodes, (64,), generator=g)


class LightGCN(torch.nn.Module):
    def __init__(self, in_channels, dim, num_layers):
        super().__init__()
        self.lin = torch.nn.Linear(in_channels, dim)
        self.convs = torch.nn.ModuleList([LGConv() for _ in range(num_layers)])

    def forward(self, x, edge_index):
        x = self.lin(x)
        out = x / (len(self.convs) + 1)
        for conv in self.convs:
            x = conv(x, edge_index)
            out = out + x / (len(self.convs) + 1)
        return out


model = LightGCN(data.num_features, 16, num_layers=3)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    emb = model(data.x, data.edge_index)
    user_emb, pos_emb, neg_emb = emb[users], emb[pos_items], emb[neg_items]
    pos_scores = torch.mul(user_emb, pos_emb).sum(dim=1)
    neg_scores = torch.mul(user_emb, neg_emb).sum(dim=1)
    bpr_loss = -F.logsigmoid(pos_scores - neg_scores).mean()
    reg_loss = 0.5 * (user_emb.norm(2).pow(2) + pos_emb.norm(2).pow(2) + neg_emb.norm(2).pow(2)) / users.numel()
    loss = bpr_loss + 1e-3 * reg_loss
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

ranking = emb[users[:3]] @ emb.t()
out = {"emb": emb, "top": ranking.topk(5, dim=1).values}
