"""A GraphSAGE whose embeddings are kept small by the mean of their squares, over all nodes."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import SAGEConv

data = fg.open(dataset[0])


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = SAGEConv(dataset.num_node_features, 16)
        self.conv2 = SAGEConv(16, 16)
        self.lin = torch.nn.Linear(16, dataset.num_classes)

    def encode(self, x, edge_index):
        return self.conv2(F.relu(self.conv1(x, edge_index)), edge_index)

    def forward(self, x, edge_index):
        z = self.encode(x, edge_index)
        return F.log_softmax(self.lin(z), dim=1), z


model = Net()
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    log_probs, z = model(data.x, data.edge_index)
    loss = F.nll_loss(log_probs[data.train_mask], data.y[data.train_mask]) + 0.1 * z.pow(2).mean()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

out = {"log_probs": log_probs, "z": z, "norm": z.norm(dim=-1).mean()}
