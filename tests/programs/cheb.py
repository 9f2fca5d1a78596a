"""ChebNet with filters of order 3 and edge weights."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import ChebConv

data = fg.open(dataset[0])


class ChebNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = ChebConv(dataset.num_features, 16, K=3)
        self.conv2 = ChebConv(16, dataset.num_classes, K=2)

    def forward(self):
        x, edge_index, edge_weight = data.x, data.edge_index, data.edge_weight
        x = F.relu(self.conv1(x, edge_index, edge_weight))
        x = self.conv2(x, edge_index, edge_weight)
        return F.log_softmax(x, dim=1)


model = ChebNet()
fg.prepare(model, data)
optimizer = torch.optim.Adam(
    [
        {"params": model.conv1.parameters(), "weight_decay": 5e-4},
        {"params": model.conv2.parameters(), "weight_decay": 0},
    ],
    lr=0.01,
)


def train():
    model.train()
    optimizer.zero_grad()
    loss = F.nll_loss(model()[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def test():
    model.eval()
    logits, accs = model(), []
    for _, mask in data("train_mask", "val_mask", "test_mask"):
        pred = logits[mask].max(1)[1]
        acc = pred.eq(data.y[mask]).sum().item() / mask.sum().item()
        accs.append(acc)
    return accs


losses = [train() for _ in range(4)]
out = {"accs": test(), "log_probs": model()}
