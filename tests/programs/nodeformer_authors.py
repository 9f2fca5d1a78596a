"""NodeFormer in the form of its authors' code: softmax attention by random features, with a loss over the edges."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch_geometric.utils import degree

data = fg.open(dataset[0])
projection = torch.randn(10, 6, generator=torch.Generator().manual_seed(1))


def kernel(x, projection, is_query, eps=1e-6):  # [B, N, H, D] -> [B, N, H, M]
    x = x / x.size(-1) ** 0.25
    dash = torch.einsum("bnhd,md->bnhm", x, projection)
    diagonal = x.square().sum(-1, keepdim=True) / 2
    stabiliser = dash.max(dim=-1, keepdim=True)[0]
    if not is_query:
        stabiliser = stabiliser.max(dim=-3, keepdim=True)[0]
    return (torch.exp(dash - diagonal - stabiliser.detach()) + eps) / projection.size(0) ** 0.5


class NodeFormerConv(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(dim, dim * heads) for _ in range(3))
        self.o, self.heads = nn.Linear(dim * heads, dim), heads

    def forward(self, z, edge_index):
        B, N = z.shape[:2]
        q, k, v = (lin(z).view(B, N, self.heads, -1) for lin in (self.q, self.k, self.v))
        q, k = kernel(q, projection, True), kernel(k, projection, False)
        norm = torch.einsum("bnhm,bhm->bnh", q, k.sum(dim=1))
        z = torch.einsum("bnhm,bhmd->bnhd", q, torch.einsum("bnhm,bnhd->bhmd", k, v)) / norm.unsqueeze(-1)
        start, end = edge_index
        weight = torch.einsum("behm,behm->beh", q[:, end], k[:, start]) / norm[:, end]
        d_norm = 1.0 / degree(end, N, dtype=z.dtype)[end]
        return self.o(z.flatten(-2)), (weight.log() * d_norm.view(1, -1, 1)).mean()


class NodeFormer(nn.Module):
    def __init__(self, c_in, dim, c_out):
        super().__init__()
        self.fc_in, self.conv, self.fc_out = nn.Linear(c_in, dim), NodeFormerConv(dim, 2), nn.Linear(dim, c_out)

    def forward(self, x, edge_index):
        z = F.elu(self.fc_in(x.unsqueeze(0)))
        h, edge_loss = self.conv(z, edge_index)
        return self.fc_out(F.elu(h + z)).squeeze(0), edge_loss


model = NodeFormer(data.x.shape[1], 6, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
losses = []
for _ in range(4):
    optimizer.zero_grad()
    logits, edge_loss = model(data.x, data.edge_index)
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask]) - 0.1 * edge_loss
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
out = {"logits": logits, "edge_loss": edge_loss}
