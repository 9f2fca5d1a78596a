"""Deep Graph Infomax with one shuffle of the nodes that is drawn beforehand."""

import torch
from torch_geometric.nn import DeepGraphInfomax, GCNConv

data = fg.open(dataset[0])
perm = torch.randperm(data.num_nodes, generator=torch.Generator().manual_seed(3))


class Encoder(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels):
        super().__init__()
        self.conv = GCNConv(in_channels, hidden_channels)
        self.prelu = torch.nn.PReLU(hidden_channels)

    def forward(self, x, edge_index):
        return self.prelu(self.conv(x, edge_index))


def corruption(x, edge_index):
    return x[perm], edge_index


model = DeepGraphInfomax(
    hidden_channels=16,
    encoder=Encoder(dataset.num_features, 16),
    summary=lambda z, *args, **kwargs: z.mean(dim=0).sigmoid(),
    corruption=corruption,
)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.001)


def train():
    model.train()
    optimizer.zero_grad()
    pos_z, neg_z, summary = model(data.x, data.edge_index)
    loss = model.loss(pos_z, neg_z, summary)
    loss.backward()
    optimizer.step()
    return loss.item()


losses = [train() for _ in range(4)]
model.eval()
with torch.no_grad():
    pos_z, neg_z, summary = model(data.x, data.edge_index)
out = {"pos_z": pos_z, "neg_z": neg_z, "summary": summary}
