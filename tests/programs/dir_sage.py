"""Dir-GNN around SAGE layers with jumping knowledge."""

import torch
import torch.nn.functional as F
from torch_geometric.nn import DirGNNConv, JumpingKnowledge, SAGEConv

data = fg.open(dataset[0])


class DirSAGE(torch.nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels, num_layers=2):
        super().__init__()
        self.convs = torch.nn.ModuleList()
        for i in range(num_layers):
            conv = SAGEConv(in_channels if i == 0 else hidden_channels, hidden_channels, aggr="add", normalize=True)
            self.convs.append(DirGNNConv(conv, alpha=0.3, root_weight=True))
        self.jump = JumpingKnowledge("max", hidden_channels, num_layers)
        self.lin = torch.nn.Linear(hidden_channels, out_channels)

    def forward(self, x, edge_index):
        xs = []
        for conv in self.convs:
            x = F.normalize(conv(x, edge_index).relu(), p=2, dim=1)
            xs.append(x)
        return self.lin(self.jump(xs)).log_softmax(dim=1)


model = DirSAGE(data.num_features, 12, dataset.num_classes)
fg.prepare(model, data)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)


def step():
    model.train()
    optimizer.zero_grad()
    log_probs = model(data.x, data.edge_index)
    loss = F.nll_loss(log_probs[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    return loss.item()


losses = [step() for _ in range(4)]
out = model(data.x, data.edge_index).exp()
