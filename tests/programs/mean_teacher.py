"""Mean teacher: the student agrees with a slowly moving copy of itself on the nodes without labels."""

import copy

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCNConv

data = fg.open(dataset[0])


class GCN(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels):
        super().__init__()
        self.conv1 = GCNConv(in_channels, hidden_channels)
        self.bn = torch.nn.BatchNorm1d(hidden_channels)
        self.conv2 = GCNConv(hidden_channels, out_channels)

    def forward(self, x, edge_index):
        x = F.relu(self.bn(self.conv1(x, edge_index)))
        return self.conv2(x, edge_index)


@torch.no_grad()
def update_teacher(student, teacher, keep_rate=0.9):
    for param_s, param_t in zip(student.parameters(), teacher.parameters(), strict=True):
        param_t.data.mul_(keep_rate).add_(param_s.data, alpha=1 - keep_rate)


model = GCN(dataset.num_features, 16, dataset.num_classes)
fg.prepare(model, data)
teacher = copy.deepcopy(model)
for p in teacher.parameters():
    p.requires_grad = False
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)

losses = []
for _ in range(4):
    optimizer.zero_grad()
    student_out = model(data.x, data.edge_index)
    with torch.no_grad():
        teacher_prob = F.softmax(teacher(data.x * 1.05, data.edge_index), dim=-1)
    sup_loss = F.cross_entropy(student_out[data.train_mask], data.y[data.train_mask])
    consistency = F.mse_loss(student_out.softmax(-1)[~data.train_mask], teacher_prob[~data.train_mask])
    loss = sup_loss + 5.0 * consistency
    loss.backward()
    optimizer.step()
    update_teacher(model, teacher)
    losses.append(loss.item())

out = {"student": student_out, "teacher": teacher_prob}
models = [model, teacher]
