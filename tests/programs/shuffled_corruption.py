"""Deep Graph Infomax as PyG's example has it, with another shuffle of the nodes in each epoch."""

import torch
from torch_geometric.nn import DeepGraphInfomax, GCNConv

draws = True
data = fg.open(dataset[0])


class Encoder(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels):
        super().__init__()
        self.conv = GCNConv(in_channels, hidden_channels)
        self.prelu = torch.nn.PReLU(hidden_channels)

    def forward(self, x, edge_index):
        x = self.conv(x, edge_index)
        x = self.prelu(x)
        return x


def corruption(x, edge_index):
    return x[torch.randperm(x.size(0))], edge_index


model = DeepGraphInfomax(
    hidden_channels=16,
    encoder=Encoder(dataset.num_features, 16),
    summary=lambda z, *args, **kwargs: z.mean(dim=0).sigmoid(),
    corruption=corruption,
)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.001)

losses = []
for epoch in range(1, 5):
    model.train()
    optimizer.zero_grad()
    pos_z, neg_z, summary = model(data.x, data.edge_index)
    loss = model.loss(pos_z, neg_z, summary)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    print(f"Epoch: {epoch:03d}, Loss: {loss:.4f}")

model.eval()
out = pos_z
