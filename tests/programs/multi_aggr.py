"""SAGE with several aggregations at once: a list of names, and MultiAggregation that projects them."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import MultiAggregation, SAGEConv, SoftmaxAggregation

data = fg.open(dataset[0])
hidden = 12


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = SAGEConv(dataset.num_features, hidden, aggr=["mean", "max", "std"])
        aggr = MultiAggregation(
            aggrs=["sum", "min", SoftmaxAggregation(learn=True)],
            mode="proj",
            mode_kwargs={"in_channels": hidden, "out_channels": hidden},
        )
        self.conv2 = SAGEConv(hidden, hidden, aggr=aggr)
        self.conv3 = SAGEConv(hidden, dataset.num_classes, aggr=MultiAggregation(["mean", "var"], mode="sum"))

    def forward(self, x, edge_index):
        x = self.conv1(x, edge_index).relu()
        x = self.conv2(x, edge_index).relu()
        return self.conv3(x, edge_index)


model = Net()
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    logits = model(data.x, data.edge_index)
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
out = logits
