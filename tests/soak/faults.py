"""Breaks runs on purpose, in every way and at every moment, and writes a table of what became of them.

``python -m tests.soak.faults OUT.md`` takes about half an hour; as root the link between ranks is cut too. A row is a
fault at a moment on some ranks: seconds until every process is gone, what is said, and whether the resumed run has the
losses of the one that nothing happened to.
"""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from itertools import product
from pathlib import Path
from typing import Any

import psutil
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from fullgraph.bench.machine import commit, hardware, versions
from fullgraph.bench.shaped import Network, network
from fullgraph.comm import World, init
from fullgraph.comm.launch import LOOPBACK, launch
from fullgraph.errors import FullgraphError
from fullgraph.train import TrainConfig, checkpoint, loop, train
from fullgraph.train.metrics import read_metrics
from tests.train.graphs import write_graph

TIMEOUT = 10.0
FAULTS = ("SIGKILL", "SIGSTOP", "exception", "out of memory", "link cut", "disk full", "launcher killed", "own call")
MOMENTS = ("opening", "forward", "backward", "step", "checkpoint")
CONFIG = TrainConfig(hidden=8, epochs=12, checkpoint_every=4, precision="64-true", norm="batch", dropout=0.5)
AT_EPOCH = 7
BUDGET = dict.fromkeys(("SIGSTOP", "link cut", "own call"), TIMEOUT + 15)
"""Seconds; the launcher gives ranks three to speak, and a rank that computes eight to notice."""
SOON = 10.0
VICTIM = 1


def _rank(graph: Path, run: Path, fault: str, moment: str, told: Path, links: Network | None, resume: bool) -> None:
    """One rank, which breaks at the moment if it is the victim; a full disk is rank 0's, who alone writes."""
    rank = int(os.environ["RANK"])
    if links is not None:
        links.enter(rank)
    world = init(timeout=TIMEOUT)
    victim = rank == (0 if fault == "disk full" else VICTIM)
    _arm(moment, lambda: _break(fault, told, links, world) if victim else None)
    train(graph, run, CONFIG, world, resume=resume)
    world.close()


def _break(fault: str, told: Path, links: Network | None, world: World) -> None:
    told.write_text(str(time.time()))
    if fault in ("SIGKILL", "SIGSTOP"):
        os.kill(os.getpid(), getattr(signal, fault))
    elif fault == "exception":
        raise KeyError("broken on purpose")
    elif fault == "out of memory":
        used = psutil.Process().memory_info().vms
        resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), resource.RLIM_INFINITY))
        torch.ones(1 << 30)
    elif fault == "link cut":
        assert links is not None
        subprocess.run(["ip", "link", "set", "shaped0", "down"], check=True)
    elif fault == "disk full":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    elif fault == "own call":
        world.all_reduce(torch.ones(1000))
    else:
        launcher = int(os.environ["FULLGRAPH_LAUNCHER"])
        os.kill(launcher, signal.SIGKILL)


def _arm(moment: str, act: Callable[[], None]) -> None:
    """Have ``act`` called at the moment, once.

    Hooks are set in every run, since a layer with a hook sums in another order.
    """
    done = False

    def at(here: str) -> None:
        nonlocal done
        if here == moment and not done:
            done = True
            act()

    opened, checked, count = loop.load_inputs, loop.check_agreement, 0

    def load_inputs(*args: Any, **kwargs: Any) -> Any:
        at("opening")
        return opened(*args, **kwargs)

    def check_agreement(model: Any, optimizer: Any, epoch: int, world: World) -> None:
        checked(model, optimizer, epoch, world)
        if epoch == 8:
            at("checkpoint")

    def forward(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        nonlocal count
        if type(module).__name__ == "GCNConv" and module.training:
            count += 1
            if count == 2 * AT_EPOCH - 1:
                at("forward")
                if moment == "backward":
                    output.register_hook(lambda gradient: at("backward"))

    steps = iter(range(1, 1000))
    loop.load_inputs, loop.check_agreement = load_inputs, check_agreement
    torch.nn.modules.module.register_module_forward_hook(forward)
    register_optimizer_step_pre_hook(lambda *_: at("step") if next(steps) == AT_EPOCH else None)


def _go(
    graph: Path, run: Path, fault: str, moment: str, told: Path, num_ranks: int, *, resume: bool = False
) -> tuple[int, str]:
    """Start the ranks and wait for their end: the exit code, and what is said."""
    with ExitStack() as held:
        links = held.enter_context(network(num_ranks, "1gbit")) if fault == "link cut" and not resume else None
        try:
            launch(
                *(_rank, graph, run, fault, moment, told, links, resume),
                num_ranks=num_ranks,
                address=LOOPBACK if links is None else links.switch,
            )
        except FullgraphError as error:
            return error.exit_code, f"{type(error).__name__}: {error}"
    return 0, ""


def _go_apart(*arguments: Any) -> tuple[int, str]:
    """The same with a launcher of its own, which may be killed; waits for its ranks as well."""
    words = [sys.executable, "-m", "tests.soak.faults", "--launch", *map(str, arguments)]
    launcher = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    processes: dict[int, psutil.Process] = {}
    while launcher.poll() is None:
        with suppress(psutil.Error):
            processes |= {each.pid: each for each in psutil.Process(launcher.pid).children(recursive=True)}
        time.sleep(0.01)
    _, alive = psutil.wait_procs(list(processes.values()), timeout=60)
    for each in alive:
        each.kill()
    return launcher.returncode, "nothing: there is nobody to say it" if not alive else "ranks outlived their launcher"


def _one(folder: Path, graph: Path, fault: str, moment: str, num_ranks: int, whole: list[float]) -> dict[str, Any]:
    run, told = folder / f"{fault}-{moment}-{num_ranks}".replace(" ", "-"), folder / "told"
    told.unlink(missing_ok=True)
    go = _go_apart if fault == "launcher killed" else _go
    code, said = go(graph, run, fault, moment, told, num_ranks)
    seconds = time.time() - float(told.read_text())
    resumed = "no checkpoint yet"
    if checkpoint.epochs(run):
        _go(graph, run, "none", "none", told, num_ranks, resume=True)
        losses = [line["train_loss"] for line in read_metrics(run)]
        resumed = "same bits" if losses == whole else f"NO: {losses}"
    within = seconds <= BUDGET.get(fault, SOON) and code != 0 and "outlived" not in said
    return {
        "fault": fault,
        "at": moment,
        "ranks": num_ranks,
        "seconds": f"{seconds:.1f}",
        "within budget": "yes" if within else "NO",
        "said": _short(said),
        "resumed": resumed,
    }


def _short(text: str) -> str:
    text = re.sub(r"machine \S+, process \d+", "machine …, process …", text)
    return re.sub(r"/\S+/", "…/", text.partition("\n")[0])[:320].replace("|", "/")


def main(out: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="fullgraph-faults-"))
    rows: list[dict[str, Any]] = []
    try:
        for num_ranks in (2, 4):
            graph, run = write_graph(folder / f"g{num_ranks}.fg", num_parts=num_ranks), folder / f"whole-{num_ranks}"
            _go(graph, run, "none", "none", folder / "told", num_ranks)
            whole = [line["train_loss"] for line in read_metrics(run)]
            assert len(whole) == CONFIG.epochs
            for fault, moment in product(FAULTS, MOMENTS):
                rows.append(_one(folder, graph, fault, moment, num_ranks, whole))
                print(" | ".join(str(each) for each in rows[-1].values()), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        out.write_text(_page(rows), encoding="utf-8")


def _page(rows: list[dict[str, Any]]) -> str:
    head = "| " + " | ".join(rows[0]) + " |\n|" + " --- |" * len(rows[0]) + "\n"
    body = "".join("| " + " | ".join(str(value) for value in row.values()) + " |\n" for row in rows)
    about = f"- Date: {time.strftime('%F')}\n- Machine: {hardware()}\n- Software: {versions()}\n- Commit: {commit()}"
    told = (
        f"A small graph, GCN, float64, dropout, a checkpoint every 4 of 12 epochs. The fault is in epoch {AT_EPOCH},\n"
        f"or at the checkpoint of epoch 8, on rank {VICTIM} (a full disk: rank 0). `--timeout` is {TIMEOUT:g} s.\n"
        f"Seconds are until all processes end; the budget is {SOON:g}, and {BUDGET['SIGSTOP']:g} if one is silent.\n"
        "*Own call*: one rank asks for a sum that the others do not.\n"
        "*Same bits*: the losses of all 12 epochs after resuming equal those of the run that nothing happened to."
    )
    command = "- Command: `python -m tests.soak.faults benchmarks/results/faults.md`"
    return f"# Runs that are broken on purpose\n\n{about}\n{command}\n\n{told}\n\n{head}{body}"


if __name__ == "__main__":
    if sys.argv[1] == "--launch":
        graph, run, fault, moment, told, num_ranks = sys.argv[2:]
        _go(Path(graph), Path(run), fault, moment, Path(told), int(num_ranks))
    else:
        main(Path(sys.argv[1]))
