"""FLAG: the features are perturbed against the model for a few steps, and gradients of all of them are used."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import SAGEConv

data = fg.open(dataset[0])
step_size, m = 1e-2, 3
generator = torch.Generator().manual_seed(2)
start = (2 * torch.rand(data.x.shape, generator=generator) - 1) * step_size


class SAGE(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = SAGEConv(dataset.num_features, 16)
        self.conv2 = SAGEConv(16, dataset.num_classes)

    def forward(self, x, edge_index):
        x = F.relu(self.conv1(x, edge_index))
        return self.conv2(x, edge_index).log_softmax(dim=-1)


def flag(model, optimizer):
    model.train()
    optimizer.zero_grad()
    perturb = start.clone()
    perturb.requires_grad_()
    out = model(data.x + perturb, data.edge_index)
    loss = F.nll_loss(out[data.train_mask], data.y[data.train_mask]) / m

    for _ in range(m - 1):
        loss.backward()
        perturb.data = (perturb.detach() + step_size * torch.sign(perturb.grad.detach())).data
        perturb.grad[:] = 0
        out = model(data.x + perturb, data.edge_index)
        loss = F.nll_loss(out[data.train_mask], data.y[data.train_mask]) / m

    loss.backward()
    optimizer.step()
    return loss.item(), perturb.detach()


model = SAGE()
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    loss, perturb = flag(model, optimizer)
    losses.append(loss)

out = {"log_probs": model(data.x, data.edge_index), "perturb": perturb}
