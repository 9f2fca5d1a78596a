"""No third outcome: every overridable function of torch, with many patterns of arguments, is on `Rows` what it is on whole
tensors or is refused.

``python -m tests.rows.differential [--ranks R] [--share k/n] [function …]`` prints how many calls had which outcome, and all
faults. What is compared: values, shapes, dtypes, gradients, second gradients, what was changed in place, and which of the
arguments share memory with the result. Ranks are simulated (`tests.rows.simulated`), so that one that leaves out a collective
is a fault like any other.
"""

import argparse
import sys
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fullgraph.comm import World
from fullgraph.config import EngineConfig
from fullgraph.errors import UnsupportedOperation
from fullgraph.rows import Rows, Space, View, gather
from fullgraph.rows.table import name_of
from fullgraph.rows.tensor import functions_off, rows
from tests.rows.functions import ANY_ALIAS, DRAWS, NOT_COMPARED, OF_MEMORY, overridable
from tests.rows.patterns import Bound, M, N, Operand, arguments, operands, patterns_of
from tests.rows.simulated import Diverged, meeting
from tests.rows.spaces import node_space

EQUAL, REFUSED, FAILS = "equal", "refused", "error in both"
_TORCHS = (RuntimeError, IndexError, ValueError, TypeError, NotImplementedError)
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.04, torch.float16: 0.01, torch.complex64: 1e-4}


@dataclass(frozen=True)
class Fault:
    """A call whose outcome is neither that of one process nor a refusal."""

    kind: str
    function: str
    pattern: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind:9} {self.function}({self.pattern}): {self.what}"


@dataclass
class Report:
    """Outcomes by kind, and the faults."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)

    def __str__(self) -> str:
        counts = ", ".join(f"{number} {kind}" for kind, number in self.counts.most_common())
        return "\n".join([*map(str, self.faults), counts])


@dataclass
class Called:
    """What a call did: ``error``, or a result; and what it left of its arguments."""

    bound: Bound
    result: Any = None
    error: BaseException | None = None

    @property
    def outputs(self) -> list[Any]:
        """The result's parts, and the arguments that were changed in place."""
        return [*parts_of(self.result), *(self.bound.values_by_name[name] for name in self.changed)]

    @property
    def changed(self) -> list[str]:
        """Names of the arguments that were changed in place."""
        return [name for name, x in self.bound.values_by_name.items() if x._version > 0]


def run(names: list[str], num_ranks: int, *, verbose: bool = False) -> Report:
    """All patterns of the functions of these full names on some ranks."""
    warnings.simplefilter("ignore")
    report, functions = Report(), overridable()
    with _ranks(num_ranks) as on_ranks:
        for name in names:
            if verbose:
                sys.stderr.write(f"{name}\n")
                sys.stderr.flush()
            _run_function(name, functions[name], on_ranks, report)
    return report


@contextmanager
def _ranks(num_ranks: int) -> Iterator[Callable[[Callable[[Any], Any]], list[Any]]]:
    if num_ranks == 1:
        yield lambda function: [function(World())]
        return
    with meeting(num_ranks) as ranks:
        yield ranks.run


def _run_function(name: str, function: Any, on_ranks: Any, report: Report) -> None:
    """Batches of patterns; after one that ranks disagree in, those that follow run in a new one."""
    waiting = patterns_of(name_of(function))
    while waiting:
        done: list[tuple[str, Fault | str]] = []
        try:
            on_ranks(lambda world, batch=waiting, done=done: _run_batch(world, name, function, batch, done))
            diverged = None
        except Diverged as error:
            diverged = Fault("hang", name, waiting[len(done)], str(error))
            done.append((waiting[len(done)], diverged))
        for _, outcome in done:
            report.counts[outcome if isinstance(outcome, str) else outcome.kind] += 1
            if isinstance(outcome, Fault):
                report.faults.append(outcome)
        waiting = waiting[len(done) :]


def _run_batch(world: Any, name: str, function: Any, batch: list[str], done: list[tuple[str, Fault | str]]) -> None:
    given, spaces = operands(), _spaces(world)
    alone = _spaces(World())
    for pattern in batch:
        expected = _call(function, pattern, Bound(given, _make_whole))
        if name_of(function) in DRAWS and expected.error is None:
            expected = _call(function, pattern, Bound(given, lambda o: _make_rows(o, alone)))
        got = _call(function, pattern, Bound(given, lambda o: _make_rows(o, spaces)))
        outcome = _compared(world, name_of(function), expected, got, given, spaces)
        if world.rank == 0:
            fault = outcome if outcome in (EQUAL, REFUSED, FAILS) else Fault(outcome[0], name, pattern, outcome[1])
            done.append((pattern, fault))


def _spaces(world: World) -> dict[str, Space]:
    view = View(world=world, config=EngineConfig())
    return {
        "node": node_space(world, N, "node", 1, view),
        "other": node_space(world, N, "other", 2, view),
        "fewer": node_space(world, M, "fewer", 3, view),
    }


def _make_whole(operand: Operand) -> tuple[Tensor, Tensor]:
    leaf = _leaf(operand.whole)
    return leaf, leaf.clone()


def _make_rows(operand: Operand, spaces: dict[str, Space]) -> tuple[Tensor, Tensor]:
    if operand.dim is None:
        return _make_whole(operand)
    space = spaces[operand.space]
    with functions_off():
        leaf = _leaf(space.localize(operand.whole, operand.dim))
        return leaf, rows(leaf.clone(), space, operand.dim)


def _leaf(x: Tensor) -> Tensor:
    return x.clone().requires_grad_(x.is_floating_point() or x.is_complex())


def _call(function: Any, pattern: str, bound: Bound) -> Called:
    torch.manual_seed(5)
    called = Called(bound)
    try:
        args, kwargs = arguments(pattern, bound)
        called.result = function(*args, **kwargs)
    except Exception as error:
        called.error = error
    return called


def parts_of(value: Any) -> list[Any]:
    """Tensors and everything else in a result, one after another."""
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        return [type(value).__name__, *(part for entry in value for part in parts_of(entry))]
    return [value]


def _compared(
    world: Any, name: str, expected: Called, got: Called, given: dict[str, Operand], spaces: dict[str, Space]
) -> Any:
    """An outcome: of all ranks, the first fault."""
    heard = _everyone(world, _kind(got))
    if len(set(heard)) > 1:
        return "disagree", f"ranks: {heard}; whole tensors: {_kind(expected)}"
    if isinstance(got.error, UnsupportedOperation):
        return REFUSED if expected.error is None else FAILS
    if got.error is not None:
        torchs = isinstance(got.error, _TORCHS)
        if expected.error is not None and torchs:
            return FAILS
        where = traceback.extract_tb(got.error.__traceback__)[-1]
        return "crashed", f"{got.error!r} at {where.filename.rsplit('/', 1)[-1]}:{where.lineno}"
    if expected.error is not None:
        return "accepts", f"{_kind(got)} where whole tensors raise {expected.error!r}"
    if name in OF_MEMORY:
        return EQUAL
    results = _everyone(world, _differs(name, expected, got, given, spaces, world))
    return next((("different", each) for each in results if each), None) or _later_checks(world, name, expected, got)


def _everyone(world: Any, value: Any) -> list[Any]:
    return [value] if world.num_ranks == 1 else world.meeting.end(world.rank, value)


def _kind(called: Called) -> str:
    """What ranks must agree in: the error's type, or the types and shapes of the outputs."""
    if called.error is not None:
        return type(called.error).__name__
    return " ".join(_describe(part) for part in called.outputs)


def _describe(part: Any) -> str:
    if isinstance(part, Tensor):
        rows_in = f" rows in {part._dim}" if isinstance(part, Rows) else ""
        return f"{tuple(int(n) for n in part.shape)} {part.dtype}{rows_in}"
    return type(part).__name__ if not isinstance(part, str) else part


def _differs(
    name: str, expected: Called, got: Called, given: dict[str, Operand], spaces: dict[str, Space], world: Any
) -> str:
    """Where outputs differ, or gradients do; empty if they do not. Collective: the same on all ranks by `_kind`."""
    ones, others = expected.outputs, got.outputs
    if len(ones) != len(others):
        return f"{_kind(got)}, not {_kind(expected)}; changed in place: {got.changed}, not {expected.changed}"
    found = [_parts_differ(one, other, name in NOT_COMPARED) for one, other in zip(ones, others, strict=True)]
    found += [_caller_differs(n, expected, got, given[n], spaces) for n in got.bound.values_by_name if n in given]
    if any(_everyone(world, any(found))) or name in NOT_COMPARED:
        return "; ".join(filter(None, found))
    return gradients_differ(
        [one for one in ones if isinstance(one, Tensor)],
        [other for other in others if isinstance(other, Tensor)],
        expected.bound.leaves,
        got.bound.leaves,
        {n: spaces[given[n].space] if given[n].dim is not None else None for n in got.bound.leaves},
        {n: given[n].dim for n in got.bound.leaves},
    )


def _parts_differ(one: Any, other: Any, shapes_only: bool) -> str:
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        if isinstance(one, int | float | str | bool | torch.Size | torch.dtype | torch.device | None) or one is None:
            same = one == other or (one != one and other != other) or isinstance(one, float) and abs(one - other) < 1e-9
            return "" if same else f"{other!r}, not {one!r}"
        return "" if type(one) is type(other) else f"{type(other).__name__}, not {type(one).__name__}"
    if tuple(one.shape) != tuple(other.shape) or one.dtype != other.dtype:
        return f"{_describe(other)}, not {_describe(one)}"
    full = gather(other.detach() if not isinstance(other, Rows) else _detached(other))
    if one.requires_grad != other.requires_grad:
        return f"requires_grad is {other.requires_grad}, not {one.requires_grad}"
    return "" if shapes_only else _values_differ(one.detach(), full)


def _detached(x: Rows) -> Rows:
    with functions_off():
        return rows(x.as_subclass(Tensor).detach().clone(), x._space, x._dim)


def _values_differ(one: Tensor, other: Tensor) -> str:
    if one.layout != torch.strided or one.is_quantized:
        return ""
    if one.is_conj() or one.is_neg():
        one = one.resolve_conj().resolve_neg()
    other = other.resolve_conj().resolve_neg()
    tolerance = _TOLERANCE.get(one.dtype, 1e-9)
    if torch.allclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=True):
        return ""
    return f"values {_short(other)}, not {_short(one)}"


def _short(x: Tensor) -> str:
    return str([f"{v:.4g}" if isinstance(v, float) else str(v) for v in x.reshape(-1)[:6].tolist()])


def _caller_differs(name: str, expected: Called, got: Called, operand: Operand, spaces: dict[str, Space]) -> str:
    """Whether an argument is no longer what the caller held."""
    x, whole = got.bound.values_by_name[name], expected.bound.values_by_name.get(name)
    if operand.dim is None and isinstance(x, Rows):
        return f"the caller's {name} has become rows"
    if operand.dim is not None and (not isinstance(x, Rows) or x._space != spaces[operand.space]):
        return f"the caller's {name} is of another space"
    if whole is not None and tuple(whole.shape) != tuple(x.shape):
        return f"the caller's {name} is {_describe(x)}, not {_describe(whole)}"
    return ""


def gradients_differ(
    ones: list[Tensor],
    others: list[Tensor],
    leaves: dict[str, Tensor],
    own: dict[str, Tensor],
    spaces: dict[str, Space | None],
    dims: dict[str, int | None],
) -> str:
    """Where first or second gradients of the leaves differ; empty if they do not. Collective."""
    if not any(one.requires_grad for one in ones) or not own:
        return ""
    names = list(own)
    given = [leaves[name] for name in names]
    try:
        grads = torch.autograd.grad(_loss(ones), given, create_graph=True, allow_unused=True)
    except (RuntimeError, NotImplementedError):
        return ""  # torch has no gradient
    with functions_off():
        loss = _loss([gather(other) for other in others])
        own_grads = torch.autograd.grad(loss, list(own.values()), create_graph=True, allow_unused=True)
        found = _grads_differ("gradient", names, grads, own_grads, spaces, dims)
        second = [grad for grad in grads if grad is not None and grad.requires_grad]
        if found or not second:
            return found
        try:
            seconds = torch.autograd.grad(_loss(second), given, allow_unused=True)
        except (RuntimeError, NotImplementedError):
            return ""
        gathered = [
            grad if spaces[name] is None else gather(rows(grad.clone(), spaces[name], dims[name] or 0))
            for name, grad, whole in zip(names, own_grads, grads, strict=True)
            if whole is not None and whole.requires_grad and grad is not None
        ]
        if not any(grad.requires_grad for grad in gathered):
            return "there is no second gradient"
        own_seconds = torch.autograd.grad(_loss(gathered), list(own.values()), allow_unused=True)
        return _grads_differ("second gradient", names, seconds, own_seconds, spaces, dims, zero_is_none=True)


def _loss(outputs: list[Tensor]) -> Tensor:
    """A number that depends on each entry differently."""
    total = torch.zeros((), dtype=torch.float64)
    for x in outputs:
        if x.requires_grad:
            x = torch.view_as_real(x.resolve_conj()) if x.is_complex() else x
            weights = torch.cos(torch.arange(x.numel(), dtype=torch.float64)).view(x.shape)
            total = total + (x.double() * weights).sum()
    return total


def _grads_differ(
    what: str,
    names: list[str],
    grads: tuple[Tensor | None, ...],
    own_grads: tuple[Tensor | None, ...],
    spaces: dict[str, Space | None],
    dims: dict[str, int | None],
    *,
    zero_is_none: bool = False,
) -> str:
    found = []
    for name, one, other in zip(names, grads, own_grads, strict=True):
        space = spaces[name]
        if other is not None and space is not None:
            other = gather(rows(other.detach().clone(), space, dims[name] or 0))
        if one is None or other is None:
            if (one is None) != (other is None) and not (zero_is_none and not any(g.any() for g in (one, other) if g is not None)):
                found.append(f"{what} of {name} is {'None' if other is None else 'not None'}")
        elif differs := _values_differ(one.detach(), other.detach()):
            found.append(f"{what} of {name}: {differs}")
    return "; ".join(found)


def _later_checks(world: Any, name: str, expected: Called, got: Called) -> Any:
    """Whether a result shares memory with the same arguments: else what is written into it is lost, or is not."""
    if name in ANY_ALIAS:
        return EQUAL
    one, other = _shared(expected), _shared(got)
    heard = _everyone(world, other)
    if any(each != one for each in heard):
        return "alias", f"shares memory with {heard}, not {one}"
    return EQUAL


def _shared(called: Called) -> list[list[str]]:
    with functions_off():
        held = {x.untyped_storage()._cdata: name for name, x in called.bound.values_by_name.items()}
        tensors = [x for x in parts_of(called.result) if isinstance(x, Tensor) and x.layout == torch.strided]
        return [[held[x.untyped_storage()._cdata]] if x.untyped_storage()._cdata in held else [] for x in tensors]


def share(number: int, of: int, seed: int = 0) -> list[str]:
    """The functions of one of ``of`` shares, by a hash of their names."""
    return [name for name in overridable() if zlib.crc32(f"{seed}{name}".encode()) % of == number]


def main() -> None:
    """Run by hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("functions", nargs="*", help="full names, or last parts of names")
    parser.add_argument("--ranks", type=int, default=3)
    parser.add_argument("--share", default="0/1")
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    number, of = map(int, given.share.split("/"))
    names = share(number, of)
    if given.functions:
        names = [n for n in names if n in given.functions or n.rsplit(".", 1)[-1] in given.functions]
    print(run(names, given.ranks, verbose=given.verbose))


if __name__ == "__main__":
    main()
