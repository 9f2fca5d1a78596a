"""MixHop over powers 0, 1 and 2 with batch normalisation, as in PyG's example."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import BatchNorm, Linear, MixHopConv

data = fg.open(dataset[0])


class MixHop(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = MixHopConv(dataset.num_features, 10, powers=[0, 1, 2])
        self.norm1 = BatchNorm(3 * 10)
        self.conv2 = MixHopConv(3 * 10, 10, powers=[0, 1, 2])
        self.norm2 = BatchNorm(3 * 10)
        self.conv3 = MixHopConv(3 * 10, 10, powers=[0, 2])
        self.norm3 = BatchNorm(2 * 10)
        self.lin = Linear(2 * 10, dataset.num_classes)

    def forward(self, x, edge_index):
        x = self.norm1(self.conv1(x, edge_index))
        x = self.norm2(self.conv2(x, edge_index))
        x = self.norm3(self.conv3(x, edge_index))
        return self.lin(x)


model = MixHop()
fg.prepare(model, data)
optimizer = torch.optim.SGD(model.parameters(), lr=0.5, weight_decay=0.005)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)


def train():
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    scheduler.step()
    return float(loss.detach())


@torch.no_grad()
def test():
    model.eval()
    pred = model(data.x, data.edge_index).argmax(dim=-1)
    accs = []
    for _, mask in data("train_mask", "val_mask", "test_mask"):
        accs.append(int((pred[mask] == data.y[mask]).sum()) / int(mask.sum()))
    return accs


losses = [train() for _ in range(4)]
out = {"accs": test(), "logits": model(data.x, data.edge_index)}
