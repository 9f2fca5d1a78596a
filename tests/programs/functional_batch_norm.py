"""F.batch_norm with buffers of the module's own, and a normalisation written by hand before the last layer."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCNConv

data = fg.open(dataset[0])


class Net(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels):
        super().__init__()
        self.conv1 = GCNConv(in_channels, hidden_channels)
        self.conv2 = GCNConv(hidden_channels, hidden_channels)
        self.conv3 = GCNConv(hidden_channels, out_channels)
        self.register_buffer("running_mean", torch.zeros(hidden_channels))
        self.register_buffer("running_var", torch.ones(hidden_channels))

    def forward(self, x, edge_index):
        x = self.conv1(x, edge_index)
        x = F.batch_norm(x, self.running_mean, self.running_var, training=self.training, momentum=0.1).relu()
        x = self.conv2(x, edge_index)
        x = (x - x.mean(dim=0, keepdim=True)) / torch.sqrt(x.var(dim=0, unbiased=False, keepdim=True) + 1e-5)
        return self.conv3(x.relu(), edge_index)


model = Net(dataset.num_features, 16, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(data.x, data.edge_index)[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

model.eval()
out = model(data.x, data.edge_index)
