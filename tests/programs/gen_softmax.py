"""GENConv with softmax aggregation of a learnt temperature and message normalisation."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GENConv

data = fg.open(dataset[0])


class GEN(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels):
        super().__init__()
        self.conv1 = GENConv(in_channels, hidden_channels, aggr="softmax", t=1.0, learn_t=True, edge_dim=3)
        self.conv2 = GENConv(
            hidden_channels,
            out_channels,
            aggr="softmax",
            t=0.5,
            learn_t=True,
            msg_norm=True,
            learn_msg_scale=True,
            norm="layer",
            edge_dim=3,
        )

    def forward(self, x, edge_index, edge_attr):
        x = self.conv1(x, edge_index, edge_attr).relu()
        return self.conv2(x, edge_index, edge_attr)


model = GEN(dataset.num_features, 16, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
train_idx = torch.where(data.train_mask)[0]

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.edge_index, data.edge_attr)
    loss = F.cross_entropy(out[train_idx], data.y[train_idx])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
out = {"logits": out, "t": model.conv1.aggr_module.t}
