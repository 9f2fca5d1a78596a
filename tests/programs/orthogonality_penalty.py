"""A GIN whose embedding columns are pushed to be orthogonal, as in pooling and decorrelation papers."""

import torch
import torch.nn.functional as F
from torch.nn import Linear, ReLU, Sequential
from torch_geometric.nn import GINConv

data = fg.open(dataset[0])


class GIN(torch.nn.Module):
    def __init__(self, in_dim, dim, num_classes):
        super().__init__()
        self.conv = GINConv(Sequential(Linear(in_dim, dim), ReLU(), Linear(dim, dim)))
        self.head = Linear(dim, num_classes)

    def forward(self, x, edge_index):
        z = self.conv(x, edge_index)
        return self.head(z.relu()), z


model = GIN(data.num_features, 8, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
criterion = torch.nn.CrossEntropyLoss()

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    logits, z = model(data.x, data.edge_index)
    z = F.normalize(z, dim=1)
    eye = torch.eye(z.size(1), device=z.device)
    ortho_loss = torch.norm(z.t() @ z / z.size(0) - eye)
    loss = criterion(logits[data.train_mask], data.y[data.train_mask]) + 0.5 * ortho_loss
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

out = {"logits": logits, "ortho": ortho_loss}
