"""LINKX with two layers over the adjacency, sized by the number of nodes."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import LINKX

draws = True  # a table with a row per node, drawn by the rows' ids

data = fg.open(dataset[0])

model = LINKX(
    data.num_nodes,
    data.num_features,
    hidden_channels=16,
    out_channels=dataset.num_classes,
    num_layers=1,
    num_edge_layers=2,
    num_node_layers=1,
    dropout=0.0,
)
fg.prepare(model, data)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=1e-3)


def train():
    model.train()
    optimizer.zero_grad()
    out = model(data.x, data.edge_index)
    mask = data.train_mask
    loss = F.cross_entropy(out[mask], data.y[mask])
    loss.backward()
    optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def test():
    accs = []
    model.eval()
    out = model(data.x, data.edge_index).argmax(dim=-1)
    for _, mask in data("train_mask", "val_mask", "test_mask"):
        accs.append(int((out[mask] == data.y[mask]).sum()) / int(mask.sum()))
    return accs


losses, accs = [], []
for _ in range(4):
    losses.append(train())
    accs.append(test())
out = {"accs": accs, "logits": model(data.x, data.edge_index)}
