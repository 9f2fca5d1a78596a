"""Several graphs in one: the batch vector is stored per node on the data, and each graph has a label."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GINConv, global_max_pool, global_mean_pool

dataset[0].batch = torch.arange(dataset[0].num_nodes) // 20
data = fg.open(dataset[0])
graph_y = torch.tensor([0, 3, 1])


class Net(torch.nn.Module):
    def __init__(self, in_channels, dim, out_channels):
        super().__init__()
        mlp = torch.nn.Sequential(torch.nn.Linear(in_channels, dim), torch.nn.ReLU(), torch.nn.Linear(dim, dim))
        self.conv = GINConv(mlp, train_eps=True)
        self.lin = torch.nn.Linear(2 * dim, out_channels)

    def forward(self, x, edge_index, batch):
        x = F.relu(self.conv(x, edge_index))
        x = torch.cat([global_mean_pool(x, batch), global_max_pool(x, batch)], dim=1)
        return F.log_softmax(self.lin(x), dim=-1)


model = Net(dataset.num_features, 16, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.edge_index, data.batch)
    loss = F.nll_loss(out, graph_y)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
