"""Stochastic weight averaging: an averaged model, SWALR from the third epoch on, batch norm statistics made anew."""

import torch
import torch.nn.functional as F
from torch.optim.swa_utils import SWALR, AveragedModel
from torch_geometric.nn import GCNConv

data = fg.open(dataset[0])


class GCN(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = GCNConv(dataset.num_features, 16)
        self.bn = torch.nn.BatchNorm1d(16)
        self.conv2 = GCNConv(16, dataset.num_classes)

    def forward(self, x, edge_index):
        return self.conv2(self.bn(self.conv1(x, edge_index)).relu(), edge_index)


model = GCN()
fg.prepare(model, data)
swa_model = AveragedModel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
swa_scheduler = SWALR(optimizer, swa_lr=0.05, anneal_epochs=2)

losses = []
for epoch in range(4):
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    if epoch >= 2:
        swa_model.update_parameters(model)
        swa_scheduler.step()
    else:
        scheduler.step()
    losses.append(loss.item())

swa_model.train()
with torch.no_grad():
    swa_model(data.x, data.edge_index)  # update_bn for a model of two arguments
    swa_model.eval()
    out = {"logits": swa_model(data.x, data.edge_index), "lr": optimizer.param_groups[0]["lr"]}
models = [model, swa_model]
