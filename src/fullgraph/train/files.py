"""The files of a run folder."""

CONFIG = "config.json"
METRICS = "metrics.jsonl"
SUMMARY = "summary.json"
CHECKPOINTS = "checkpoints"
LOCK = "lock"
TENSORBOARD = "tensorboard"
