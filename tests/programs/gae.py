"""PyG's GAE with its inner product decoder, and negative edges that are drawn once."""

import torch
from torch_geometric.nn import GAE, GCNConv

data = fg.open(dataset[0])
generator = torch.Generator().manual_seed(12345)
neg_edge_index = torch.randint(0, data.num_nodes, (2, 200), generator=generator)


class GCNEncoder(torch.nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv1 = GCNConv(in_channels, 2 * out_channels)
        self.conv2 = GCNConv(2 * out_channels, out_channels)

    def forward(self, x, edge_index):
        x = self.conv1(x, edge_index).relu()
        return self.conv2(x, edge_index)


model = GAE(GCNEncoder(dataset.num_features, 8))
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)


def train():
    model.train()
    optimizer.zero_grad()
    z = model.encode(data.x, data.edge_index)
    loss = model.recon_loss(z, data.edge_index, neg_edge_index)
    loss.backward()
    optimizer.step()
    return loss.item()


losses = [train() for _ in range(4)]
model.eval()
with torch.no_grad():
    z = model.encode(data.x, data.edge_index)
    pos_score = model.decode(z, data.edge_index).mean()
    neg_score = model.decode(z, neg_edge_index)
out = {"z": z, "pos": pos_score, "neg": neg_score}
