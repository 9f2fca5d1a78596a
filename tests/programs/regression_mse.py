"""Regression with mse_loss; MAE, RMSE and R2 on the test nodes."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import SAGEConv

data = fg.open(dataset[0])
target = data.x[:, 0] * data.x[:, 1] + 0.5 * data.y


class Regressor(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = SAGEConv(dataset.num_features, 16, aggr="mean")
        self.conv2 = SAGEConv(16, 1, aggr="mean")

    def forward(self, x, edge_index):
        x = self.conv1(x, edge_index).tanh()
        return self.conv2(x, edge_index).squeeze(-1)


model = Regressor()
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    pred = model(data.x, data.edge_index)
    loss = F.mse_loss(pred[data.train_mask], target[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

with torch.no_grad():
    pred = model(data.x, data.edge_index)
    y_pred, y_true = pred[data.test_mask], target[data.test_mask]
    mae = (y_pred - y_true).abs().mean().item()
    rmse = torch.sqrt(((y_pred - y_true) ** 2).mean()).item()
    r2 = 1 - ((y_true - y_pred) ** 2).sum() / ((y_true - y_true.mean()) ** 2).sum()
out = {"pred": pred, "mae": mae, "rmse": rmse, "r2": r2}
