"""R-GCN on a heterogeneous graph that was turned into a homogeneous one with edge types."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import FastRGCNConv, RGCNConv

data = fg.open(dataset[0])
homo = data.to_homogeneous()


class RGCN(torch.nn.Module):
    def __init__(self, hidden_channels, out_channels, num_relations):
        super().__init__()
        self.lins = torch.nn.ModuleDict(
            {node_type: torch.nn.Linear(x.size(-1), hidden_channels) for node_type, x in data.x_dict.items()}
        )
        self.conv1 = FastRGCNConv(hidden_channels, hidden_channels, num_relations)
        self.conv2 = RGCNConv(hidden_channels, out_channels, num_relations, num_bases=3)

    def forward(self, x_dict, edge_index, edge_type):
        x = torch.cat([self.lins[node_type](x) for node_type, x in x_dict.items()], dim=0)
        x = self.conv1(x, edge_index, edge_type).relu()
        return self.conv2(x, edge_index, edge_type)


model = RGCN(16, dataset.num_classes, len(data.edge_types))
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

losses = []
for _ in range(4):
    model.train()
    optimizer.zero_grad()
    out = model(data.x_dict, homo.edge_index, homo.edge_type)
    loss = F.cross_entropy(out[homo.train_mask], homo.y[homo.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

model.eval()
with torch.no_grad():
    logits = model(data.x_dict, homo.edge_index, homo.edge_type)
paper = logits[homo.node_type == data.node_types.index("paper")]
out = {"logits": logits, "paper": paper, "acc": (paper.argmax(-1) == data["paper"].y).double().mean()}
