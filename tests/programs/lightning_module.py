"""A LightningModule that a Trainer trains on the whole graph, one step an epoch."""

import lightning
import torch
import torch.nn.functional as F
from torch_geometric.nn import GraphSAGE

data = fg.open(dataset[0])
losses = []


class Classifier(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.sage = GraphSAGE(dataset.num_features, 16, num_layers=2, out_channels=dataset.num_classes)

    def training_step(self, batch, batch_idx):
        logits = self.sage(data.x, data.edge_index)
        loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
        losses.append(loss.item())
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


model = Classifier()
fg.prepare(model.sage, data)
trainer = lightning.Trainer(
    accelerator="cpu",
    devices=1,
    max_epochs=4,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(model, torch.utils.data.DataLoader([0]))
