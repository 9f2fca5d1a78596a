"""PyG's VGAE in evaluation mode throughout, so that the mean stands for the draw."""

import torch
from torch_geometric.nn import VGAE, GCNConv

data = fg.open(dataset[0])
generator = torch.Generator().manual_seed(1)
neg_edge_index = torch.randint(0, data.num_nodes, (2, 150), generator=generator)


class VariationalGCNEncoder(torch.nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv1 = GCNConv(in_channels, 2 * out_channels)
        self.conv_mu = GCNConv(2 * out_channels, out_channels)
        self.conv_logstd = GCNConv(2 * out_channels, out_channels)

    def forward(self, x, edge_index):
        x = self.conv1(x, edge_index).relu()
        return self.conv_mu(x, edge_index), self.conv_logstd(x, edge_index)


model = VGAE(VariationalGCNEncoder(data.num_features, 8))
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    model.eval()
    optimizer.zero_grad()
    z = model.encode(data.x, data.edge_index)
    loss = model.recon_loss(z, data.edge_index, neg_edge_index)
    loss = loss + (1 / data.num_nodes) * model.kl_loss()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

model.eval()
out = model.encode(data.x, data.edge_index)
