"""Scores by torchmetrics, of one step after another and of all steps together."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import GraphSAGE
from torchmetrics import MeanMetric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
)
from torchmetrics.functional import r2_score

data = fg.open(dataset[0])
model = GraphSAGE(dataset.num_features, 16, num_layers=2, out_channels=dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
accuracy = MulticlassAccuracy(dataset.num_classes, average="micro")
f1 = MulticlassF1Score(dataset.num_classes, average="macro")
confusion = MulticlassConfusionMatrix(dataset.num_classes)
auroc = MulticlassAUROC(dataset.num_classes, thresholds=20)
mean_loss = MeanMetric()

losses, scores = [], []
for _ in range(4):
    optimizer.zero_grad()
    logits = model(data.x, data.edge_index)
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    mean_loss.update(loss.detach())
    scores.append(accuracy(logits[data.val_mask], data.y[data.val_mask]).item())
    f1.update(logits[data.val_mask].argmax(-1), data.y[data.val_mask])
    confusion.update(logits[data.val_mask], data.y[data.val_mask])
    auroc.update(logits[data.val_mask].softmax(-1), data.y[data.val_mask])
    losses.append(loss.item())

with torch.no_grad():
    fit = r2_score(logits[:, 0], data.x[:, 0])
out = {
    "logits": logits,
    "scores": scores,
    "accuracy": accuracy.compute(),
    "f1": f1.compute(),
    "confusion": confusion.compute(),
    "auroc": auroc.compute(),
    "mean_loss": mean_loss.compute(),
    "fit": fit,
}
