"""GraphMAE: masked nodes get a learned token and are reconstructed with the scaled cosine error."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GATConv, GCNConv

data = fg.open(dataset[0])
perm = torch.randperm(data.num_nodes, generator=torch.Generator().manual_seed(11))
mask_nodes, keep_nodes = perm[: data.num_nodes // 2], perm[data.num_nodes // 2 :]


def sce_loss(x, y, alpha=2):
    x = F.normalize(x, p=2, dim=-1)
    y = F.normalize(y, p=2, dim=-1)
    return (1 - (x * y).sum(dim=-1)).pow(alpha).mean()


class GraphMAE(torch.nn.Module):
    def __init__(self, in_dim, num_hidden):
        super().__init__()
        self.enc_mask_token = torch.nn.Parameter(torch.zeros(1, in_dim))
        self.encoder = GATConv(in_dim, num_hidden // 2, heads=2)
        self.encoder_to_decoder = torch.nn.Linear(num_hidden, num_hidden, bias=False)
        self.decoder = GCNConv(num_hidden, in_dim)

    def forward(self, x, edge_index):
        use_x = x.clone()
        use_x[mask_nodes] = 0.0
        use_x[mask_nodes] += self.enc_mask_token
        rep = self.encoder_to_decoder(F.elu(self.encoder(use_x, edge_index)))
        rep[mask_nodes] = 0  # re-mask
        recon = self.decoder(rep, edge_index)
        return sce_loss(recon[mask_nodes], x[mask_nodes]), recon

    def embed(self, x, edge_index):
        return self.encoder(x, edge_index)


model = GraphMAE(data.num_features, 16)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    model.train()
    loss, recon = model(data.x, data.edge_index)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

with torch.no_grad():
    kept_error = F.mse_loss(recon[keep_nodes], data.x[keep_nodes]).item()
    out = {"emb": model.embed(data.x, data.edge_index), "recon": recon, "kept": kept_error}
