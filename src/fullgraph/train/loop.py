"""The training loop: what a user would write by hand with `fullgraph`'s public functions, plus the run folder.

Nothing is printed here; `Watcher`s on rank 0 are told after each epoch.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, StepLR

from fullgraph.comm import trace as traces
from fullgraph.comm.spans import span
from fullgraph.comm.world import World
from fullgraph.errors import FullgraphError, InputError
from fullgraph.graph import PartitionedGraph
from fullgraph.pyg.prepare import prepare
from fullgraph.replacing import replace_text
from fullgraph.train import checkpoint as checkpoints
from fullgraph.train import files
from fullgraph.train.checkpoint import Checkpoint
from fullgraph.train.config import TrainConfig
from fullgraph.train.inputs import Inputs, check_trainable, load_inputs, trained_inputs, with_target
from fullgraph.train.memory import PeakMemory
from fullgraph.train.metrics import EpochMetrics, Evaluation, MetricsFile, TensorBoard, Watcher
from fullgraph.train.states import own_model_state, own_optimizer_state, whole_state
from fullgraph.train.summary import Summary, summarize, write_summary

SCHEDULES: dict[str, Callable[[torch.optim.Optimizer, TrainConfig], LRScheduler]] = {
    "constant": lambda optimizer, config: ConstantLR(optimizer, factor=1.0),
    "cosine": lambda optimizer, config: CosineAnnealingLR(optimizer, T_max=config.epochs),
    "step": lambda optimizer, config: StepLR(optimizer, step_size=config.step_epochs, gamma=config.step_factor),
}

TRACED_EPOCH = 3
"""Which epoch is traced: the first ones build what all others use."""


@dataclass(kw_only=True)
class _Best:
    """The best epoch so far, and the model after it."""

    metrics: EpochMetrics | None = None
    model: dict[str, Any] | None = None

    def consider(self, metrics: EpochMetrics, model: torch.nn.Module) -> None:
        """Take the epoch if its validation accuracy is higher, or equal with a lower validation loss."""
        if self.metrics is None or _merit(metrics) > _merit(self.metrics):
            self.metrics = metrics
            self.model = {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}


@torch.random.fork_rng(devices=[])  # the caller's random state is left as it was
def train(
    graph: Path,
    run: Path,
    config: TrainConfig,
    world: World,
    *,
    resume: bool = False,
    watchers: Sequence[Watcher] = (),
    trace: Path | None = None,
) -> Summary:
    """Train one model on a partitioned graph; every rank calls this with the same arguments.

    Args:
        graph: a partitioned graph's folder.
        run: the run folder; rank 0 writes ``config.json``, ``metrics.jsonl``, TensorBoard events, ``checkpoint.pt``
            and ``summary.json`` there. It must not hold a run yet, unless ``resume``.
        resume: go on from the run's checkpoint, on any number of ranks.
        watchers: told on rank 0 how training goes.
        trace: a file for the trace of one epoch, the third that is trained here or the last, or None (`comm.trace`).

    Returns:
        The summary, the same on every rank.

    Raises:
        InputError: the user's mistakes, the same on every rank.
        FullgraphError: the loss is no longer finite.
    """
    for each in fields(config):
        world.agree(f"training option {each.name}", getattr(config, each.name))
    world.agree("trace", trace)
    stored = world.together(lambda: PartitionedGraph.open(graph))
    config, num_classes = with_target(config, stored, graph)
    earlier = checkpoints.load_everywhere(run, world) if resume else None
    if earlier is not None:
        config.refuse_resume_from(earlier.config)
        checkpoints.refuse_another_graph(earlier, stored.checksum, graph)

    inputs = load_inputs(graph, config, world, num_classes=num_classes)
    check_trainable(inputs, patience=config.patience)
    optimizer = torch.optim.Adam(inputs.model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    model, trained_on = inputs.model, trained_inputs(inputs, config)
    prepare(model, trained_on.data)
    torch.manual_seed(config.seed)
    scheduler = SCHEDULES[config.schedule](optimizer, config)
    done, best = 0, _Best()
    if earlier is not None:
        model.load_state_dict(own_model_state(earlier.model, model, inputs.data))
        optimizer.load_state_dict(own_optimizer_state(earlier.optimizer, optimizer, inputs.data))
        scheduler.load_state_dict(earlier.scheduler)
        torch.set_rng_state(earlier.randomness)
        done = earlier.epoch
        best = _Best(metrics=EpochMetrics(**earlier.best) if earlier.best else None, model=None)
        if earlier.best_model is not None:
            best.model = own_model_state(earlier.best_model, model, inputs.data)
    if done >= config.epochs or _is_patience_over(done, best, config):
        raise InputError(f"the run has finished; to go on, give more --epochs or --patience than its: {done} epochs")

    tracing = nullcontext() if trace is None else traces.trace(trace, world)
    world.together(lambda: _make_run_folder(run, config, resume=resume) if world.rank == 0 else None)

    def save(epoch: int) -> None:
        states = whole_state((model.state_dict(), optimizer.state_dict(), best.model))
        if world.rank == 0:
            checkpoints.save(
                Checkpoint(
                    config=config,
                    graph_checksum=stored.checksum,
                    num_features=inputs.num_features,
                    num_classes=num_classes,
                    edge_dim=inputs.edge_dim,
                    epoch=epoch,
                    model=states[0],
                    optimizer=states[1],
                    scheduler=scheduler.state_dict(),
                    randomness=torch.get_rng_state(),
                    best=asdict(best.metrics) if best.metrics else None,
                    best_model=states[2],
                ),
                run,
            )

    if earlier is None:
        save(0)  # so that a run stopped before its first periodic checkpoint can be resumed too
    told = [MetricsFile(run), TensorBoard(run), *watchers] if world.rank == 0 else []
    for watcher in told:
        watcher.begin(config, done)
    trained: list[EpochMetrics] = []
    memory = PeakMemory(world.device)
    try:
        for epoch in range(done + 1, config.epochs + 1):
            with tracing if epoch == min(done + TRACED_EPOCH, config.epochs) else nullcontext(), span(f"epoch {epoch}"):
                metrics = _epoch(epoch, trained_on, inputs, optimizer, scheduler, config, world)
            trained.append(metrics)
            if metrics.eval_seconds > 0:
                best.consider(metrics, model)
            for watcher in told:
                watcher.epoch(metrics)
            over = epoch == config.epochs or _is_patience_over(epoch, best, config)
            if over or (config.checkpoint_every and epoch % config.checkpoint_every == 0):
                save(epoch)
            if over:
                break
    finally:
        for watcher in told:
            watcher.end()

    peaks = world.gather_objects(memory.growth())
    summary = summarize(config, stored, trained, best.metrics or trained[-1], peaks)
    if world.rank == 0:
        write_summary(summary, run)
    return summary


def _make_run_folder(run: Path, config: TrainConfig, *, resume: bool) -> None:
    if (run / files.CONFIG).exists() and not resume:
        raise InputError(
            f"the run folder holds a run already; add --resume to go on with it, or give another --run: {run}"
        )
    try:
        run.mkdir(parents=True, exist_ok=True)
        replace_text(run / files.CONFIG, config.to_json())
    except OSError as error:
        raise InputError(f"the run folder cannot be written ({error.strerror}); give another --run: {run}") from error


def _epoch(
    epoch: int,
    trained_on: Inputs,
    inputs: Inputs,
    optimizer: torch.optim.Optimizer,
    scheduler: LRScheduler,
    config: TrainConfig,
    world: World,
) -> EpochMetrics:
    rows, reduced, start = world.traffic.rows_bytes, world.traffic.reduced_bytes, _now(world.device)
    lr = optimizer.param_groups[0]["lr"]
    inputs.model.train()
    optimizer.zero_grad()
    mask = trained_on.masks["train"]
    loss = F.cross_entropy(trained_on.forward()[mask], trained_on.labels[mask])
    train_loss = float(loss.detach())
    if not math.isfinite(train_loss):  # that of the whole graph, so that every rank stops here
        raise FullgraphError(
            f"the loss is not finite in epoch {epoch}, so the model was not changed; "
            f"try a smaller --lr, or look at the features' scale: {train_loss}"
        )
    loss.backward()
    optimizer.step()
    scheduler.step()
    seconds = _now(world.device) - start
    sent, reduced = world.traffic.rows_bytes - rows, world.traffic.reduced_bytes - reduced

    rows, start = world.traffic.rows_bytes, _now(world.device)
    evaluated = epoch % config.eval_every == 0 or epoch == config.epochs
    with span("evaluation"):
        evaluation = evaluate(inputs) if evaluated else Evaluation()
    eval_seconds = _now(world.device) - start if evaluated else 0.0
    ranks = world.gather_objects((seconds, eval_seconds, sent, reduced, world.traffic.rows_bytes - rows))
    seconds_by_rank, eval_seconds_by_rank, sent_by_rank, reduced_by_rank, eval_sent_by_rank = map(
        list, zip(*ranks, strict=True)
    )
    return EpochMetrics(
        epoch=epoch,
        train_loss=train_loss,
        **asdict(evaluation),
        lr=lr,
        seconds=max(seconds_by_rank),
        eval_seconds=max(eval_seconds_by_rank),
        bytes_sent=sent_by_rank,
        bytes_reduced=reduced_by_rank,
        eval_bytes_sent=eval_sent_by_rank,
    )


@torch.no_grad()
def evaluate(inputs: Inputs) -> Evaluation:
    """Accuracy on each mask and the validation loss, in evaluation mode; one forward pass."""
    inputs.model.eval()
    out, labels, masks = inputs.forward(), inputs.labels, inputs.masks
    is_right = out.argmax(-1) == labels
    accuracies = {f"{name}_accuracy": _share(is_right[mask]) for name, mask in masks.items()}
    if "val" not in masks:
        return Evaluation(**accuracies)
    return Evaluation(**accuracies, val_loss=float(F.cross_entropy(out[masks["val"]], labels[masks["val"]])))


def _share(is_right: Tensor) -> float:
    return int(is_right.sum()) / len(is_right)


def _merit(metrics: EpochMetrics) -> tuple[float, float]:
    if metrics.val_accuracy is None or metrics.val_loss is None:
        return float(metrics.epoch), 0.0  # nothing to judge by: the later, the better
    return metrics.val_accuracy, -metrics.val_loss


def _is_patience_over(epoch: int, best: _Best, config: TrainConfig) -> bool:
    return bool(config.patience and best.metrics and epoch - best.metrics.epoch >= config.patience)


def _now(device: torch.device) -> float:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()
