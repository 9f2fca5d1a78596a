"""A penalty on the gradient by the inputs, which needs a second derivative of the layers."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCNConv

refused = "has no second derivative here"

data = fg.open(dataset[0])


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = GCNConv(dataset.num_features, 8)
        self.conv2 = GCNConv(8, dataset.num_classes)

    def forward(self, x, edge_index):
        return self.conv2(torch.tanh(self.conv1(x, edge_index)), edge_index)


model = Net()
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    x = data.x.detach().clone().requires_grad_(True)
    logits = model(x, data.edge_index)
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
    grad = torch.autograd.grad(loss, x, create_graph=True)[0]
    penalty = grad.pow(2).sum(dim=1).mean()
    loss = loss + 10.0 * penalty
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

out = {"logits": logits, "penalty": penalty, "grad": grad}
