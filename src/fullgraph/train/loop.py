"""The training loop: what a user would write by hand with `fullgraph`'s public functions, plus the run folder.

Nothing is printed here; `Watcher`s on rank 0 are told after each epoch.
"""

import math
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, fields
from pathlib import Path

import torch
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, StepLR

import fullgraph
from fullgraph.comm import trace as traces
from fullgraph.comm.spans import span
from fullgraph.comm.world import World
from fullgraph.errors import InputError, NotFinite, Stopped
from fullgraph.graph import PartitionedGraph
from fullgraph.pyg.prepare import prepare
from fullgraph.train import checkpoint as checkpoints
from fullgraph.train import files
from fullgraph.train.agreement import check_agreement, code_checksum
from fullgraph.train.config import TrainConfig
from fullgraph.train.folder import owned
from fullgraph.train.inputs import Inputs, load_inputs, trained_inputs
from fullgraph.train.memory import PeakMemory
from fullgraph.train.metrics import EpochMetrics, Evaluation, MetricsFile, TensorBoard, Watcher, read_metrics
from fullgraph.train.numerics import first_not_finite, not_finite_gradient
from fullgraph.train.recovery import Recovery
from fullgraph.train.state import TrainingState
from fullgraph.train.stopping import StopSignal, stop_signal
from fullgraph.train.summary import Summary, summarize, write_summary
from fullgraph.train.tasks import Task, chosen

SCHEDULES: dict[str, Callable[[torch.optim.Optimizer, TrainConfig], LRScheduler]] = {
    "constant": lambda optimizer, config: ConstantLR(optimizer, factor=1.0),
    "cosine": lambda optimizer, config: CosineAnnealingLR(optimizer, T_max=config.epochs),
    "step": lambda optimizer, config: StepLR(optimizer, step_size=config.step_epochs, gamma=config.step_factor),
}

TRACED_EPOCH = 3
"""Which epoch is traced: the first ones build what all others use."""


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

    On SIGINT or SIGTERM the epoch is finished and a checkpoint written.

    Args:
        graph: a partitioned graph's folder.
        run: the run folder; rank 0 writes ``config.json``, ``metrics.jsonl``, TensorBoard events, checkpoints and
            ``summary.json`` there. It must not hold a run yet, unless ``resume``, and no other process may be at work
            in it.
        resume: go on from the newest of the run's checkpoints that is whole, on any number of ranks.
        watchers: told on rank 0 how training goes.
        trace: a file for the trace of one epoch, the third that is trained here or the last, or None (`comm.trace`).

    Returns:
        The summary, the same on every rank.

    Raises:
        InputError: the user's mistakes, the same on every rank.
        NotFinite: the loss or a gradient is no longer finite, and the config says to stop.
        RanksDiffer: ranks no longer have the same model.
        Stopped: a signal said so.
    """
    for each in fields(config):
        world.agree(f"training option {each.name}", getattr(config, each.name))
    world.agree("trace", trace)
    world.agree("code and version of torch (their checksum)", code_checksum())
    stored = world.together(lambda: PartitionedGraph.open(graph))
    config, task = chosen(config, stored, graph)
    with ExitStack() as held, stop_signal() as told:
        earlier, refused = checkpoints.load_everywhere(run, world) if resume else (None, [])
        if earlier is not None:
            config.refuse_resume_from(earlier.config)
            checkpoints.refuse_another_graph(earlier, stored.checksum, graph)
        state, trained_on = _begin(graph, config, task, world, earlier)
        inputs, optimizer, done = state.inputs, state.optimizer, state.epoch
        if done >= config.epochs or state.is_patience_over(config.patience):
            raise InputError(
                f"the run has finished; to go on, give more --epochs or --patience than its: {done} epochs"
            )
        check_agreement(inputs.model, optimizer, done, world)
        tracing = nullcontext() if trace is None else traces.trace(trace, world)
        if world.rank == 0:
            world.together(lambda: held.enter_context(owned(run, config, resume=resume)))
        else:
            world.together(lambda: None)

        def save() -> None:
            check_agreement(inputs.model, optimizer, state.epoch, world)
            with world.during(f"the checkpoint of epoch {state.epoch}"):
                whole = state.checkpoint(config, stored.checksum, task.num_outputs, fullgraph.__version__)
                world.together(
                    lambda: checkpoints.save(whole, run, keep=config.keep_checkpoints) if world.rank == 0 else None
                )

        if earlier is None:
            save()  # so that a run stopped before its first periodic checkpoint can be resumed too
        told_all = [MetricsFile(run), TensorBoard(run), *watchers] if world.rank == 0 else []
        num_lines = sum(line["epoch"] <= done for line in read_metrics(run)) if told_all else done
        lost = [f"of {done} epochs {files.METRICS} has whole lines for: {num_lines}"] if num_lines < done else []
        for watcher in told_all:
            watcher.begin(config, done)
            for each in [f"{each}; going on from epoch {done}" for each in refused] + lost:
                watcher.note(each)
        trained: list[EpochMetrics] = []
        recovery = Recovery(config, run, world)
        memory = PeakMemory(world.device)
        stopping, over = 0, False
        try:
            while not (over or stopping):
                epoch = state.epoch + 1
                traced = tracing if epoch == min(done + TRACED_EPOCH, config.epochs) else nullcontext()
                try:
                    with traced, world.during(f"epoch {epoch}"):
                        metrics, stopping = _epoch(epoch, task, trained_on, state, config, world, told)
                except NotFinite as error:
                    if epoch >= config.epochs and not trained:
                        raise
                    counts = recovery.go_on(state, error)
                    trained = [each for each in trained if each.epoch <= state.epoch]
                    for watcher in told_all:
                        watcher.note(f"{error}; {config.on_nonfinite}: going on after epoch {state.epoch}")
                        watcher.rewound(state.epoch)
                    if not counts:
                        continue
                else:
                    recovery.was_finite()
                    state.epoch = epoch
                    trained.append(metrics)
                    if metrics.eval_seconds > 0:
                        state.consider(metrics)
                    for watcher in told_all:
                        watcher.epoch(metrics)
                over = state.epoch >= config.epochs or state.is_patience_over(config.patience)
                if over or stopping or (config.checkpoint_every and state.epoch % config.checkpoint_every == 0):
                    save()
                elif config.agree_every and state.epoch % config.agree_every == 0:
                    check_agreement(inputs.model, optimizer, state.epoch, world)
        finally:
            for watcher in told_all:
                watcher.end()
        if stopping and not over:
            raise Stopped(
                f"stopped by {signal.Signals(stopping).name} after epoch {state.epoch}, with a checkpoint of it",
                128 + stopping,
            )
        peaks = world.gather_objects(memory.growth())
        summary = summarize(config, stored, trained, state.best or trained[-1], peaks)
        if world.rank == 0:
            write_summary(summary, run)
        return summary


def _begin(
    graph: Path, config: TrainConfig, task: Task, world: World, earlier: checkpoints.Checkpoint | None
) -> tuple[TrainingState, Inputs]:
    """A new run, or one that goes on from a checkpoint, and the inputs that it trains on. Collective."""
    inputs = task.trainable(task.bound(load_inputs(graph, config, world, num_outputs=task.num_outputs)))
    optimizer = torch.optim.Adam(inputs.model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    trained_on = trained_inputs(inputs, config)
    prepare(inputs.model, trained_on.data)
    torch.manual_seed(config.seed)
    scheduler = SCHEDULES[config.schedule](optimizer, config)
    state = TrainingState(inputs=inputs, optimizer=optimizer, scheduler=scheduler, merit=task.merit)
    if earlier is not None:
        state.restore(earlier)
    return state, trained_on


def _epoch(
    epoch: int,
    task: Task,
    trained_on: Inputs,
    state: TrainingState,
    config: TrainConfig,
    world: World,
    told: StopSignal,
) -> tuple[EpochMetrics, int]:
    """Train and evaluate, and learn which signal any rank was told to stop by (0: none). Collective.

    Raises:
        NotFinite: the loss or a gradient is not finite; the model is as it was, and so is the optimizer.
    """
    inputs, optimizer = state.inputs, state.optimizer
    rows, reduced, start = world.traffic.rows_bytes, world.traffic.reduced_bytes, _now(world.device)
    lr = optimizer.param_groups[0]["lr"]
    drawn_from = torch.get_rng_state()
    buffers = {name: value.clone() for name, value in inputs.model.named_buffers()}
    inputs.model.train()
    optimizer.zero_grad()
    loss = task.loss(trained_on, epoch)
    train_loss = float(loss.detach())  # that of the whole graph, so that all ranks find the same
    if not math.isfinite(train_loss):
        torch.set_rng_state(drawn_from)
        bad = f"the loss, {train_loss}, is not finite in epoch {epoch}"
        hint = first_not_finite(inputs.model, trained_on.forward, world)
    else:
        loss.backward()
        bad = not_finite_gradient(inputs.model) and f"a gradient is not finite in epoch {epoch}"
        hint = f"it is that of {not_finite_gradient(inputs.model)}"
    if bad:
        for name, value in inputs.model.named_buffers():
            value.copy_(buffers[name])
        raise NotFinite(
            f"{bad}, so the model was not changed; try a smaller --lr, or look at the features' scale; {hint}"
        )
    optimizer.step()
    state.scheduler.step()
    seconds = _now(world.device) - start
    sent, reduced = world.traffic.rows_bytes - rows, world.traffic.reduced_bytes - reduced

    rows, start = world.traffic.rows_bytes, _now(world.device)
    evaluated = epoch % config.eval_every == 0 or epoch == config.epochs
    with span("evaluation"), torch.no_grad():
        inputs.model.eval()
        evaluation = task.evaluate(inputs) if evaluated else Evaluation()
    eval_seconds = _now(world.device) - start if evaluated else 0.0
    of_ranks = world.gather_objects(
        (seconds, eval_seconds, sent, reduced, world.traffic.rows_bytes - rows, told.number)
    )
    seconds_by_rank, eval_seconds_by_rank, sent_by_rank, reduced_by_rank, eval_sent_by_rank, told_by_rank = map(
        list, zip(*of_ranks, strict=True)
    )
    metrics = EpochMetrics(
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
    return metrics, max(told_by_rank)


def _now(device: torch.device) -> float:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()
