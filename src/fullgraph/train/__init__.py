"""Training runs: one config, one loop, one run folder."""

from fullgraph.train.config import TrainConfig
from fullgraph.train.loop import train
from fullgraph.train.metrics import EpochMetrics, Watcher
from fullgraph.train.summary import Summary, read_summary

__all__ = ["EpochMetrics", "Summary", "TrainConfig", "Watcher", "read_summary", "train"]
