"""The files of a run folder."""

CONFIG = "config.json"
METRICS = "metrics.jsonl"
SUMMARY = "summary.json"
CHECKPOINT = "checkpoint.pt"
TENSORBOARD = "tensorboard"
