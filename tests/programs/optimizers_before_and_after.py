"""Two optimizers: one made before the model is prepared, for the first layer, and one made after it."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCNConv

data = fg.open(dataset[0])


class GCN(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels):
        super().__init__()
        self.conv1 = GCNConv(in_channels, hidden_channels)
        self.conv2 = GCNConv(hidden_channels, out_channels)

    def forward(self, x, edge_index):
        x = self.conv1(x, edge_index).relu()
        return self.conv2(x, edge_index)


model = GCN(dataset.num_features, 16, dataset.num_classes)
optimizer1 = torch.optim.Adam(model.conv1.parameters(), lr=0.01)
fg.prepare(model, data)
optimizer2 = torch.optim.SGD(model.conv2.parameters(), lr=0.1, momentum=0.9, nesterov=True)

losses = []
for _ in range(4):
    optimizer1.zero_grad()
    optimizer2.zero_grad()
    out = model(data.x, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer1.step()
    optimizer2.step()
    losses.append(loss.item())

state = optimizer1.state_dict()["state"]
out = {"logits": out, "exp_avg": [state[key]["exp_avg"] for key in sorted(state)]}
