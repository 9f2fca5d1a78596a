"""Notices when ranks no longer train one model: a bit that differs on one would go unseen, and spoil the result.

Each rank makes one number of 64 bits of every tensor that all should have alike; the numbers are compared.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

import fullgraph
from fullgraph.comm.world import World
from fullgraph.errors import RanksDiffer
from fullgraph.rows import Rows

_ODD = 0x9E3779B97F4A7C15 - (1 << 64)  # of a golden ratio's digits, as int64


def check_agreement(model: torch.nn.Module, optimizer: Optimizer, epoch: int, world: World) -> None:
    """Compare parameters, buffers and the optimizer's state of all ranks, but for learned rows. Collective.

    Raises:
        RanksDiffer: on every rank, naming the first thing that differs, and the ranks that differ from most.
    """
    if world.num_ranks == 1:
        return
    named = dict(_shared(model, optimizer))
    digests = dict(zip(named, _digests(list(named.values())), strict=True))
    of_ranks = world.gather_objects(digests)
    for name in of_ranks[0]:
        values = [each.get(name) for each in of_ranks]
        (most, _), *_ = Counter(values).most_common(1)
        different = [str(rank) for rank, value in enumerate(values) if value != most]
        if different:
            raise RanksDiffer(
                f"ranks no longer have the same model: {name} differs on rank {', '.join(different)} of "
                f"{world.num_ranks} after epoch {epoch}; --resume from a checkpoint before it, and look for what only "
                f"that rank does, or for its memory"
            )


@cache
def code_checksum() -> str:
    """Of torch's version and all source files of fullgraph, which ranks on several machines should have alike."""
    folder = Path(fullgraph.__file__).parent
    content = hashlib.blake2b(torch.__version__.encode(), digest_size=8)
    for file in sorted(folder.rglob("*.py")):
        content.update(file.read_bytes())
    return content.hexdigest()


def _shared(model: torch.nn.Module, optimizer: Optimizer) -> Iterator[tuple[str, Any]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if not isinstance(value, Rows):
            yield name, value.detach()
    for number, group in enumerate(optimizer.param_groups):
        for key, value in group.items():
            if key != "params":
                yield f"{key} of the optimizer's group {number}", value
        for parameter in group["params"]:
            if isinstance(parameter, Rows):
                continue
            for key, value in optimizer.state.get(parameter, {}).items():
                yield f"{key} of the optimizer for {names[id(parameter)]}", value


def _digests(values: list[Any]) -> list[int | str]:
    tensors = [value for value in values if isinstance(value, Tensor)]
    sums = iter(torch.stack([_digest(each) for each in tensors]).tolist()) if tensors else iter(())
    return [next(sums) if isinstance(value, Tensor) else repr(value) for value in values]


def _digest(tensor: Tensor) -> Tensor:
    """A sum of all bits, each word times an odd number of its own, modulo 2^64: any one flipped bit changes it."""
    raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    words = torch.nn.functional.pad(raw, (0, -len(raw) % 8)).view(torch.int64)
    places = torch.arange(1, len(words) + 1, device=words.device) * _ODD | 1
    return (words * places).sum() + len(raw)
