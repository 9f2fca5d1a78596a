"""The ways in which people write the two ends of edges, and the rows that they name."""

import torch
import torch.nn.functional as F

data = fg.open(dataset[0])
edge_index = data.edge_index


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lin1, self.lin2 = torch.nn.Linear(6, 8), torch.nn.Linear(8, 4)

    def forward(self, x, edge_index):
        h = self.lin1(x)
        n = h.size(0)
        row, col = edge_index
        out = torch.zeros_like(h).index_add_(0, col, h[row])
        out = out + torch.zeros_like(h).scatter_add_(0, row.view(-1, 1).expand(-1, 8), torch.index_select(h, 0, col))
        src, dst = edge_index[[1, 0]]
        out = out + torch.zeros(n, 8, dtype=h.dtype).index_add(0, dst, F.embedding(src, h))
        src, dst = edge_index.t().unbind(1)
        out = out + h.new_zeros(n, 8).scatter_add(
            0, dst.unsqueeze(1).repeat(1, 8), h.gather(0, src[:, None].expand(-1, 8))
        )
        src, dst = (end.squeeze(0) for end in edge_index.chunk(2))
        out = out + torch.zeros_like(h).index_put((dst,), h[src, :], accumulate=True)
        src, dst = edge_index.flip(0).split(1)
        mean = torch.zeros_like(h).scatter_reduce(0, dst.t().expand(-1, 8), h[src[0]], "mean", include_self=False)
        keep = edge_index[0, :] < edge_index[1, :]
        up = edge_index[:, keep]
        out = out + mean + torch.zeros_like(h).index_add(0, up[1], h.index_select(0, up[0]) * 0.5)
        degree = torch.bincount(col, minlength=n).to(h.dtype).clamp(min=1)
        return self.lin2(torch.tanh(out / degree.unsqueeze(-1)))


model = Net()
fg.prepare(model, data)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
losses = []
for _ in range(4):
    optimizer.zero_grad()
    out = model(data.x, edge_index)
    loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
