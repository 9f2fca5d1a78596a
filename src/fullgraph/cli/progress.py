"""A progress bar on the terminal while a run trains."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fullgraph.train import EpochMetrics, TrainConfig, Watcher


class ProgressBar(Watcher):
    """Shows the epoch, the loss, the last scores and the time left, on stderr."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._scores = ""

    def begin(self, config: TrainConfig, done: int) -> None:
        self._task = self._progress.add_task("", total=config.epochs, completed=done)
        self._progress.start()

    def epoch(self, metrics: EpochMetrics) -> None:
        if metrics.eval_seconds > 0:
            first = {of: next(iter(scores.items())) for of, scores in metrics.by_mask.items() if of != "train"}
            self._scores = "".join(f" {of} {name} {value:.4f}" for of, (name, value) in first.items())
        self._progress.update(
            self._task, completed=metrics.epoch, description=f"loss {metrics.train_loss:.4f}{self._scores}"
        )

    def rewound(self, done: int) -> None:
        self._progress.update(self._task, completed=done)

    def note(self, text: str) -> None:
        self._progress.console.print(text, markup=False, soft_wrap=True)

    def end(self) -> None:
        self._progress.stop()
