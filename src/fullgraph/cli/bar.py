"""What a command says on a terminal: a bar for what goes on, with the time that is left where it can be known."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fullgraph.cli.output import ForReaders
from fullgraph.cli.words import scores
from fullgraph.train import EpochMetrics, TrainConfig


class Bar(ForReaders):
    """On stderr; a stage of a second or more leaves a line with its time."""

    manner = "bar"

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._stages: list[Progress] = []
        self._epochs: Progress | None = None
        self._scores = ""

    def stage(self, what: str) -> None:
        progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=self._console, transient=True
        )
        progress.add_task(what, total=None)
        if self._stages:
            self._stages[-1].stop()
        self._stages.append(progress)
        progress.start()

    def staged(self, what: str, seconds: float) -> None:
        self._stages.pop().stop()
        if seconds >= 1:
            self.note(f"{what}: {seconds:.1f} s")
        if self._stages:
            self._stages[-1].start()

    def begin(self, config: TrainConfig, done: int) -> None:
        self._epochs = Progress(
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._epochs.add_task("", total=config.epochs, completed=done)
        self._epochs.start()

    def epoch(self, metrics: EpochMetrics) -> None:
        self._scores = scores(metrics) or self._scores
        if self._epochs is not None:
            shown = f"loss {metrics.train_loss:.4f}{self._scores}"
            self._epochs.update(self._task, completed=metrics.epoch, description=shown)

    def rewound(self, done: int) -> None:
        if self._epochs is not None:
            self._epochs.update(self._task, completed=done)

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def end(self) -> None:
        while self._stages:
            self._stages.pop().stop()
        if self._epochs is not None:
            self._epochs.stop()
            self._epochs = None
