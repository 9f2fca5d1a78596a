"""An MLP on the features alone, its predictions corrected and smoothed along the edges afterwards."""

import torch
from torch_geometric.nn import MLP, CorrectAndSmooth

data = fg.open(dataset[0])
model = MLP([dataset.num_features, 16, 16, dataset.num_classes], dropout=0.0, norm="batch_norm", act_first=True)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
criterion = torch.nn.CrossEntropyLoss()

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    out = model(data.x)
    loss = criterion(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())


@torch.no_grad()
def test(out):
    pred = out.argmax(dim=-1)
    masks = (data.train_mask, data.val_mask, data.test_mask)
    return [int((pred[mask] == data.y[mask]).sum()) / int(mask.sum()) for mask in masks]


model.eval()
with torch.no_grad():
    y_soft = model(data.x).softmax(dim=-1)

post = CorrectAndSmooth(
    num_correction_layers=3, correction_alpha=0.9, num_smoothing_layers=3, smoothing_alpha=0.8, autoscale=True
)
y_train = data.y[data.train_mask]
corrected = post.correct(y_soft, y_train, data.train_mask, data.edge_index)
smoothed = post.smooth(corrected, y_train, data.train_mask, data.edge_index)
out = {"mlp": y_soft, "corrected": corrected, "smoothed": smoothed, "before": test(y_soft), "after": test(smoothed)}
