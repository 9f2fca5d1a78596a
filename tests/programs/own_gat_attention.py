"""An attention layer as PyG 1.x had it: ``message`` leaves the attention on the layer, for a penalty on its entropy."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import softmax

data = fg.open(dataset[0])


class OwnGAT(MessagePassing):
    def __init__(self, in_channels, out_channels):
        super().__init__(aggr="add")
        self.lin = torch.nn.Linear(in_channels, out_channels)
        self.att = torch.nn.Linear(2 * out_channels, 1)
        self._alpha = None

    def forward(self, x, edge_index):
        out = self.propagate(edge_index, x=self.lin(x))
        alpha, self._alpha = self._alpha, None
        return out, alpha

    def message(self, x_i, x_j, index, ptr, size_i):
        alpha = softmax(self.att(torch.cat([x_i, x_j], dim=-1)).view(-1), index, ptr, size_i)
        self._alpha = alpha
        return x_j * alpha.view(-1, 1)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = OwnGAT(6, 8), OwnGAT(8, 4)

    def forward(self, x, edge_index):
        x, first = self.conv1(x, edge_index)
        out, second = self.conv2(x.tanh(), edge_index)
        return out, -sum((alpha * (alpha + 1e-9).log()).sum() for alpha in (first, second))


model = Net()
fg.prepare(model, data)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
losses = []
for _ in range(4):
    optimizer.zero_grad()
    out, entropy = model(data.x, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask]) + 0.01 * entropy
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
