"""A GAT with skip connections made heterogeneous by `to_hetero`, of known sizes after input layers."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GATConv, HeteroDictLinear, Linear, to_hetero

data = fg.open(dataset[0])


class GAT(torch.nn.Module):
    def __init__(self, channels, out_channels):
        super().__init__()
        self.conv1 = GATConv((channels, channels), channels, add_self_loops=False)
        self.lin1 = Linear(channels, channels)
        self.conv2 = GATConv((channels, channels), out_channels, add_self_loops=False)
        self.lin2 = Linear(channels, out_channels)

    def forward(self, x, edge_index):
        x = self.conv1(x, edge_index) + self.lin1(x)
        x = x.relu()
        return self.conv2(x, edge_index) + self.lin2(x)


class Model(torch.nn.Module):
    def __init__(self, channels=12):
        super().__init__()
        self.encoder = HeteroDictLinear(data.num_node_features, channels)
        self.gnn = to_hetero(GAT(channels, dataset.num_classes), data.metadata(), aggr="mean")

    def forward(self, x_dict, edge_index_dict):
        return self.gnn(self.encoder(x_dict), edge_index_dict)["paper"]


model = Model()
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
idx = data["paper"].train_mask.nonzero().flatten()

losses = []
for _ in range(4):
    optimizer.zero_grad()
    log_probs = F.log_softmax(model(data.x_dict, data.edge_index_dict), dim=-1)
    loss = F.nll_loss(log_probs[idx], data["paper"].y[idx])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
out = log_probs
