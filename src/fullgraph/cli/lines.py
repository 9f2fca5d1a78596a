"""What a command says where no terminal listens: a line for what took long, or an event of JSON for everything.

Neither is ever silent for more than three seconds while something goes on.
"""

import json
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TextIO

from rich.console import RenderableType

from fullgraph.cli.output import ForReaders, Output
from fullgraph.cli.words import scores
from fullgraph.errors import FullgraphError
from fullgraph.train import EpochMetrics, TrainConfig

SILENCE = 2.5
"""Seconds."""


class _Beating(Output):
    """Says what still goes on, from a thread of its own, whenever nothing was said for a while."""

    def __init__(self) -> None:
        self._going_on: list[tuple[str, float]] = []
        self._said = time.monotonic()
        self._over = threading.Event()
        self._beat: threading.Thread | None = None

    def goes_on(self, what: str, seconds: float) -> None:
        """It has gone on for so long."""

    def stage(self, what: str) -> None:
        self._going_on.append((what, time.monotonic()))
        if self._beat is None:
            self._beat = threading.Thread(target=self._keep_saying, name="what goes on", daemon=True)
            self._beat.start()

    def staged(self, what: str, seconds: float) -> None:
        self._going_on.pop()

    def end(self) -> None:
        self._over.set()
        if self._beat is not None:
            self._beat.join()

    def _keep_saying(self) -> None:
        while not self._over.wait(SILENCE / 5):
            now, going_on = time.monotonic(), self._going_on[-1:]
            if going_on and now - self._said >= SILENCE * 4 / 5:
                self._said = now
                self.goes_on(going_on[0][0], now - going_on[0][1])


class _OfEpochs(_Beating):
    """An epoch is a stage like any other."""

    def begin(self, config: TrainConfig, done: int) -> None:
        self._config = config
        self._next(done)

    def epoch(self, metrics: EpochMetrics) -> None:
        self._going_on.pop()
        self.trained(metrics)
        self._next(metrics.epoch)

    def rewound(self, done: int) -> None:
        self._going_on.pop()
        self._next(done)

    def trained(self, metrics: EpochMetrics) -> None:
        """An epoch is over."""

    def _next(self, done: int) -> None:
        self.stage(f"epoch {done + 1}" if done < self._config.epochs else "the summary")


class Lines(_OfEpochs, ForReaders):
    """On stderr, each at once: stages of a second or more, and an epoch every two seconds."""

    manner = "lines"

    def staged(self, what: str, seconds: float) -> None:
        super().staged(what, seconds)
        if seconds >= 1:
            self.note(f"{what}: {seconds:.1f} s")

    def goes_on(self, what: str, seconds: float) -> None:
        self.note(f"{what}: {seconds:.0f} s so far")

    def trained(self, metrics: EpochMetrics) -> None:
        last = metrics.epoch == self._config.epochs
        if last or metrics.epoch == 1 or time.monotonic() - self._said >= 2:
            seconds = metrics.seconds + metrics.eval_seconds
            left = (self._config.epochs - metrics.epoch) * seconds
            self.note(
                f"epoch {metrics.epoch}/{self._config.epochs}: loss {metrics.train_loss:.4f}{scores(metrics)}, "
                f"{seconds:.2f} s" + (f", left {left:.0f} s" if not last else "")
            )

    def note(self, text: str) -> None:
        self._said = time.monotonic()
        _write(sys.stderr, text)


class Events(_OfEpochs):
    """On stdout, one JSON object per line, of which ``event`` says what it is."""

    manner = "json"

    def stage(self, what: str) -> None:
        super().stage(what)
        if not what.startswith("epoch "):
            self._say("stage", stage=what)

    def staged(self, what: str, seconds: float) -> None:
        super().staged(what, seconds)
        self._say("staged", stage=what, seconds=seconds)

    def goes_on(self, what: str, seconds: float) -> None:
        self._say("goes_on", stage=what, seconds=seconds)

    def trained(self, metrics: EpochMetrics) -> None:
        self._say("epoch", **asdict(metrics))

    def note(self, text: str) -> None:
        self._say("note", text=text)

    def result(self, shown: RenderableType, values: Mapping[str, Any]) -> None:
        self._say("result", **values)

    def failed(self, error: FullgraphError) -> None:
        self._say("error", type=type(error).__name__, message=str(error), exit_code=error.exit_code)

    def _say(self, event: str, **values: Any) -> None:
        self._said = time.monotonic()
        _write(sys.stdout, json.dumps({"event": event, **values}, default=str))


def _write(file: TextIO, line: str) -> None:
    """At once and in one piece, since two threads speak."""
    file.write(f"{line}\n")
    file.flush()
