"""Random programs: a few layers and operations on rows, indices, groups and reductions, with a loss and a backward.

A program is text that Python runs, the same for whole tensors and for `Rows`, so that one that fails can be read and
run by itself. It is written while it runs on whole tensors: each line is chosen among those that fit the shapes so far.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

N, M = 13, 6
"""Rows of the two kinds of nodes."""

GLOBALS = {"torch": torch, "F": F, "N": N, "M": M}
"""What a program may name beside its inputs."""

OF_ROWS = frozenset(["x", "y", "q", "u", "o", "w"])
"""Inputs that have rows and need gradients."""

MOST = 1e3
"""Numbers beyond say more of rounding than of exactness."""


@dataclass
class Inputs:
    """What a program starts from: ``leaves`` need gradients, ``spaces`` says of each tensor that has rows of what."""

    tensors: dict[str, Tensor]
    leaves: list[str]
    spaces: dict[str, str]


@cache
def inputs(seed: int) -> Inputs:
    """Tensors of the whole graph; lower-case names have rows, capital ones are everywhere."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, dtype=torch.float64)

    def number(high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=g)

    rows = {
        "x": normal(N, 4),
        "y": normal(N, 4),
        "q": normal(N, 3),
        "u": normal(N),
        "o": normal(N, 4),
        "w": normal(M, 4),
        "lab": number(3, N),
        "ids": number(N, N),
        "oids": number(N, N),
        "wids": number(N, M),
        "back": number(M, N),
        "m": torch.rand(N, generator=g) > 0.4,
    }
    everywhere = {
        "W": normal(4, 4),
        "V": normal(4, 3),
        "B": normal(4),
        "G": normal(3, 4),
        "E": normal(N, 4),
        "S": normal(),
        "J": number(N, 5),
        "K": torch.rand(N, generator=g) > 0.5,
        "BW": 1 + 0.1 * normal(4),
        "LW": normal(4, 4) / 2,
        "LB": normal(4),
    }
    leaves = [name for name, t in {**rows, **everywhere}.items() if t.is_floating_point()]
    spaces = dict.fromkeys(rows, "node") | {"o": "other", "oids": "other", "w": "fewer", "wids": "fewer"}
    return Inputs({**rows, **everywhere}, leaves, spaces)


@dataclass
class _Writer:
    """A program under way: its lines, and what names hold when it runs on whole tensors."""

    chance: random.Random
    scope: dict[str, Any]
    lines: list[str] = field(default_factory=list)

    def pick(self, fits: Callable[[Tensor], bool]) -> str | None:
        """A name whose value fits: mostly one of the last lines', else one of an input that has rows, or any."""
        fitting = [name for name, value in self.scope.items() if isinstance(value, Tensor) and fits(value)]
        made = [name for name in fitting if name[0] == "v" and name[1:].isdigit()][-3:]
        of_rows = [name for name in fitting if name in OF_ROWS]
        for names, share in ((made, 0.75), (of_rows, 0.8), (fitting, 1.0)):
            if names and self.chance.random() < share:
                return self.chance.choice(names)
        return None

    def floats(self, dims: int = 2, rows: int = 0, columns: int = 0) -> str | None:
        """The name of a float tensor of so many dimensions; 0 rows or columns means any."""

        def fits(v: Tensor) -> bool:
            shape = [*v.shape, 0, 0]
            return v.is_floating_point() and v.dim() == dims and rows in (0, shape[0]) and columns in (0, shape[1])

        return self.pick(fits)

    def add(self, line: str) -> bool:
        """Run a line on whole tensors and keep it if that gave decent numbers."""
        scope = dict(self.scope)
        try:
            exec(line, scope)
        except Exception:
            return False
        made = [v for n, v in scope.items() if isinstance(v, Tensor) and self.scope.get(n) is not v]
        if any(v.is_floating_point() and not (v.numel() and v.abs().max() < MOST) for v in made):
            return False
        self.scope = scope
        self.lines.append(line)
        return True


@cache
def program(seed: int, length: int = 7) -> str:
    """The text of a program: `length` lines and a loss that uses what the last of them gave."""
    chance = random.Random(seed)
    whole = inputs(seed)
    given = {n: t.clone().requires_grad_(n in whole.leaves) for n, t in whole.tensors.items()}
    writer = _Writer(chance, {**GLOBALS, **given})
    tries = 0
    while len(writer.lines) < length and tries < 20 * length:
        tries += 1
        made = chance.choice(_GRAMMAR)(writer, chance)
        if made is not None:
            writer.add(f"v{len(writer.lines)} = {made}")
    _end(writer, chance)
    return "\n".join(writer.lines)


def _end(writer: _Writer, chance: random.Random) -> None:
    made = [n for n, v in writer.scope.items() if n[0] == "v" and n[1:].isdigit() and v.is_floating_point()]
    made = [n for n in made if writer.scope[n].requires_grad]
    losses = ("{}.square().mean()", "{}.tanh().sum()", "{}.abs().mean()", "{}.sum() / 10")
    parts = [chance.choice(losses).format(name) for name in made[-3:]]
    scores = writer.floats(2, N, 4) or "x"
    parts.append(
        chance.choice(
            [
                f"F.cross_entropy({scores}, lab)",
                f"F.cross_entropy({scores}[m], lab[m], label_smoothing=0.1)",
                f"F.cross_entropy({scores}, lab, weight=B.detach().abs())",
                f"F.mse_loss({scores}, y)",
                f"F.binary_cross_entropy_with_logits({scores}, E.sigmoid().detach())",
                f"F.smooth_l1_loss({scores}, E, reduction='sum')",
                f"F.nll_loss({scores}.log_softmax(1), lab)",
                f"F.kl_div({scores}.log_softmax(1), E.softmax(1), reduction='batchmean')",
                f"F.cosine_embedding_loss({scores}, y, lab.clamp(max=1) * 2 - 1)",
                f"F.huber_loss({scores}.sum(1), u)",
            ]
        )
    )
    if not writer.add("loss = " + " + ".join(parts)):
        writer.add("loss = x.mean()")
    if chance.random() < 0.15:
        writer.add("grads = torch.autograd.grad(loss, [x, W, B], create_graph=True, allow_unused=True)")
        writer.add("loss = loss + sum(g.square().sum() for g in grads if g is not None)")


Rule = Callable[[_Writer, random.Random], str | None]


def _one(*forms: str, dims: int = 2, rows: int = 0, columns: int = 0) -> Rule:
    """A form of one float tensor, ``{0}``."""

    def rule(writer: _Writer, chance: random.Random) -> str | None:
        name = writer.floats(dims, rows, columns)
        return None if name is None else chance.choice(forms).format(name)

    return rule


def _two(*forms: str, same_columns: bool = True, rows: int = 0) -> Rule:
    """A form of two float matrices of as many rows."""

    def rule(writer: _Writer, chance: random.Random) -> str | None:
        one = writer.floats(2, rows)
        if one is None:
            return None
        shape = writer.scope[one].shape
        other = writer.floats(2, shape[0], shape[1] if same_columns else 0)
        return None if other is None else chance.choice(forms).format(one, other)

    return rule


def _forms(text: str) -> tuple[str, ...]:
    """Forms that stand between bars and ends of lines."""
    return tuple(form.strip() for line in text.splitlines() for form in line.split("|"))


_ELEMENTWISE = _forms(
    """{0}.relu()|{0}.tanh()|torch.sigmoid({0})|F.elu({0})|F.leaky_relu({0}, 0.2)|{0} * S|{0} * 0.5 - 1|-{0}
    F.softplus({0})|F.gelu({0})|{0}.clamp(-1, 1)|torch.where({0} > 0, {0}, {0} * 0.1)|{0}.square()
    (1 + {0} ** 2).log()|{0} / (1 + {0}.abs())|{0}.masked_fill({0} > 1, 0.5)|F.dropout({0}, 0.5, training=False)
    {0}.exp().clamp(max=5)"""
)
_OF_MATRICES = _forms(
    """{0}.sum(0)|{0}.sum(1)|{0}.mean(0)|{0}.mean(1, keepdim=True)|{0}.mean()|{0}.var(0)|{0}.std(0, keepdim=True)
    {0}.logsumexp(0)|{0}.logsumexp(1)|{0}.amax(0)|{0}.amax(1)|{0}.max(0).values|{0}.min(1).values|{0}.max()
    {0}.norm(dim=1)|{0}.norm(dim=0)|{0}.norm()|{0}.sum(0, keepdim=True)|{0}.softmax(0)|{0}.softmax(1)
    {0}.log_softmax(1)|{0}.log_softmax(0)|F.normalize({0})|F.normalize({0}, dim=0)|{0} - {0}.mean(0)
    ({0} - {0}.mean(0)) / ({0}.std(0) + 1)|{0} / (1 + {0}.norm(dim=1, keepdim=True))|{0}.cumsum(1)
    {0}.sort(1).values|{0}.topk(2, dim=1).values|{0}.T @ {0}|{0} @ ({0}.T @ {0})|{0}.T|{0}[:, 0]|{0}[:, 1:]
    {0}[:, None].sum(1)|{0}[:, [0, 2]]|{0}.flip(1)|{0}.repeat(1, 2)|F.pad({0}, (1, 0))
    {0}.unsqueeze(1).expand(-1, 2, -1).sum(1)|F.layer_norm({0}, {0}.shape[1:])|torch.einsum('nc,nd->cd', {0}, {0})
    {0}.clone().mul_(0.5)|{0}.reshape(-1).tanh()|{0}.view(-1).square().view({0}.shape)|{0}[{0}[:, 0] > 0]
    {0}[{0}.sum(1) < {0}.mean()]|{0}[1:4]|{0}[::2]|{0}[-3:]|{0}[0]|{0}.detach() * {0}|{0}.var(unbiased=False)
    {0}.abs().sum(1).sqrt()|{0}.prod(1)|F.batch_norm({0}, None, None, training=True)|{0}.argmax(1)
    ({0} > 0).sum(0) * S|({0} > 0).double() * S|torch.stack([{0}, {0} * 2], 1).amax(1)|{0}.split(2, 1)[0]
    {0}.new_zeros({0}.size(0), 2) + {0}[:, :1]|torch.zeros_like({0}) + {0}[:1].sum()|{0}[{0}[:, 0].argsort()[0] * 0]"""
)
_OF_COLUMNS = _forms(
    """F.linear({0}, LW, LB)|{0} @ W|{0} @ V|{0} * B|{0} + B|torch.addmm(LB, {0}, LW)|F.layer_norm({0}, (4,), BW, B)
    F.batch_norm({0}, None, None, BW, B, training=True)|F.prelu({0}, B)|{0}.view(-1, 2, 2).sum(1)
    F.rms_norm({0}, (4,), BW)|F.group_norm({0}, 2, BW, B)|{0}.view(-1, 2, 2).softmax(1).flatten(1)
    torch.cdist({0}, G)|({0} @ G.T).softmax(1) @ G|F.glu({0}, 1)|torch.einsum('nc,cd,nd->n', {0}, W, {0})
    ({0}[:, None] * G).sum(-1)|torch.cat([{0}, B.expand({0}.size(0), -1)], 1)|{0}.unflatten(1, (2, 2)).mean(2)
    F.linear({0}, LW).relu() @ V|{0} @ B"""
)
"""Of matrices of four columns."""

_OF_NODES = _forms(
    """{0}[m]|{0}[ids]|{0}[oids]|{0}[wids]|{0}[J]|{0}[K]|{0}[~m]|{0} * u[:, None]|{0} * m[:, None]
    {0}.index_select(0, ids)|torch.zeros(3, {0}.size(1), dtype={0}.dtype).index_add(0, lab, {0})
    {0}.new_zeros(N, {0}.size(1)).index_add(0, ids, {0})
    torch.zeros(M, {0}.size(1), dtype={0}.dtype).index_add(0, back, {0})
    torch.zeros_like({0}).index_add(0, ids, {0})
    torch.zeros_like({0}).scatter_add(0, ids[:, None].expand_as({0}), {0})
    torch.zeros_like({0}).index_add_(0, ids, {0} * 2)
    torch.zeros_like({0}).scatter_reduce(0, ids[:, None].expand_as({0}), {0}, 'amax')
    F.one_hot(lab, 3).double().T @ {0}
    {0}.new_zeros(3, {0}.size(1)).scatter_reduce(0, lab[:, None].expand_as({0}), {0}, 'mean', include_self=False)
    {0}.clone().masked_fill(m[:, None], 0.0)|torch.where(m[:, None], {0}, S)|{0}.clone().index_fill_(0, J, 0.0)
    {0}.index_copy(0, J, {0}[J])|{0}.gather(1, lab[:, None].clamp(max={0}.size(1) - 1))|{0} - {0}[ids]
    ({0} * {0}[ids]).sum(1)|{0}[ids].mean(0)|{0}[lab == 1].mean(0)
    {0}[torch.arange(N), lab.clamp(max={0}.size(1) - 1)]|{0}[ids[m]]|{0}[m][:3]|{0}[J] * 2 + {0}[J]
    torch.cat([{0}, {0}[m]])|{0} * E[:, :1]|(u.softmax(0)[:, None] * {0}).sum(0)|u @ {0}|{0}.T @ E
    torch.cat([{0}, E], 1)|{0}.repeat_interleave(2, 0)|{0}[ids][m]|{0}[m].T @ {0}[m]"""
)
"""Of matrices with a row for each of the N nodes."""

_OF_PAIRS = _forms(
    """{0} + {1}|{0} * {1}|{0} - {1}|torch.maximum({0}, {1})|torch.where({0} > {1}, {0}, {1} * 0.5)
    torch.cat([{0}, {1}])|torch.stack([{0}, {1}], 1).sum(1)|torch.lerp({0}, {1}, 0.3)|F.cosine_similarity({0}, {1})
    F.pairwise_distance({0}, {1})|({0} * {1}).sum(1)|torch.addcmul({0}, {0}, {1})|{0} / (1 + {1} * {1})
    torch.stack([{0}, {1}]).mean(0)|(({0} - {1}) ** 2).mean()|F.mse_loss({0}, {1}, reduction='none')
    torch.hypot({0}, {1})|{0}.clone().add_({1}, alpha=0.5)|torch.stack([{0}, {1}], -1).amax(-1)"""
)
"""Of two matrices of one shape."""

_OF_ANY_PAIRS = _forms(
    """torch.cat([{0}, {1}], 1)|{0}.T @ {1}|{0}.sum(1, keepdim=True) * {1}|torch.einsum('nc,nd->cd', {0}, {1})
    {0} @ ({0}.T @ {1})"""
)
"""Of two matrices of as many rows."""

_OF_VECTORS = _forms(
    """{0}.softmax(0)|{0}.sum()|{0}.mean()|{0}.max()|{0}.tanh()|{0}.relu()|{0}.unsqueeze(1)|{0}[:, None]
    {0} - {0}.mean()|{0} / (1 + {0}.norm())|{0}[{0} > 0]|{0}.square()|{0}.logsumexp(0)|{0}[1:]|{0}.var()
    {0}.topk(2).values|{0}.dot({0})|torch.outer({0}, B)|{0}.repeat(2)|{0}.sort().values[:2]"""
)
_OF_NODE_VECTORS = _forms(
    """{0}[ids]|{0}[m]|{0} * u|{0}.new_zeros(3).index_add(0, lab, {0})
    torch.zeros(3, dtype={0}.dtype).scatter_add(0, lab, {0})
    ({0} - torch.zeros_like({0}).scatter_reduce(0, ids, {0}, 'amax')[ids]).exp().clamp(max=9)|{0}[J]|{0}.dot(u)
    torch.outer({0}, B)|{0} @ E"""
)
"""Of vectors with an entry for each of the N nodes."""

_TABLES = _forms(
    """G[lab]|F.embedding(lab, G)|E[ids]|F.embedding(ids, E)|E[m]|E * x|E @ W + x|E.index_add(0, ids, x)
    torch.zeros_like(E).index_add(0, J, x[J])|x[J] @ W|w[back]|o + x|o[ids] * x|x[wids] + w|torch.cat([x, w])
    torch.cat([E, w])|F.one_hot(lab, 4).double() * x|x.new_zeros(N, 2) + u[:, None]
    torch.ones(x.size(0), 1, dtype=x.dtype) * x|torch.cat([x[m], x[~m]])
    torch.zeros(x.size(0), 4, dtype=x.dtype).index_add(0, ids, y)|torch.bincount(lab, minlength=3).double() * S
    (x @ G.T).argmax(1).double() * u|torch.arange(N, dtype=x.dtype) * u|x @ x.mean(0)
    torch.eye(3, dtype=x.dtype)[lab]"""
)
"""Of inputs by their names."""


def _tables(writer: _Writer, chance: random.Random) -> str:
    return chance.choice(_TABLES)


_GRAMMAR: tuple[Rule, ...] = (
    _one(*_ELEMENTWISE),
    _one(*_ELEMENTWISE, dims=1),
    *[_one(*_OF_MATRICES)] * 3,
    *[_one(*_OF_COLUMNS, columns=4)] * 3,
    *[_one(*_OF_NODES, rows=N)] * 4,
    *[_two(*_OF_PAIRS)] * 2,
    _two(*_OF_ANY_PAIRS, same_columns=False),
    _one(*_OF_VECTORS, dims=1),
    _one(*_OF_NODE_VECTORS, dims=1, rows=N),
    _tables,
)
