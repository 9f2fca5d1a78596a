"""What can be told of a destination's messages piece by piece: sums, extrema, products and softmax-weighted sums.

Any aggregation that is a function of these needs no neighbourhood at once. A statistic is carried from piece to piece
in a few numbers per destination and column; backward needs them too, for the messages that are formed again.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fullgraph import ops
from fullgraph.engine.messages.pieces import Piece
from fullgraph.engine.neighbours.extremum import nothing_seen, shares_of_ties

_LEAST = 1e-16  # what PyG's softmax adds to its denominator

State = tuple[Tensor, ...]
Seeds = list[tuple[Tensor, Tensor]]


class Statistic(ABC):
    """A number for each destination and column of the messages. Two equal statistics are the same one.

    Attributes:
        compares: whether backward looks for messages that equal the result, so that rows must travel whole.
        remembers: whether backward needs the state.
    """

    compares: bool = False
    remembers: bool = True

    @abstractmethod
    def start(self, messages: Tensor, num_dst: int) -> State:
        """The state of ``num_dst`` destinations without messages; ``messages``: any ``[e, F]`` of their kind."""

    @abstractmethod
    def absorb(self, messages: Tensor, piece: Piece, state: State) -> None:
        """Take a piece's messages ``[e, F]`` into the state, in place."""

    @abstractmethod
    def value(self, state: State) -> Tensor:
        """The statistic, ``[num_dst, F]``."""

    @abstractmethod
    def adjoint(self, state: State, grad: Tensor) -> State:
        """What `seeds` needs of the destinations, given the gradient ``[num_dst, F]``; an empty state is never read."""

    @abstractmethod
    def seeds(self, messages: Tensor, piece: Piece, adjoint: State) -> Seeds:
        """Functions of the messages, differentiable, each with its gradient: where autograd starts in a piece."""


@dataclass(frozen=True)
class Sum(Statistic):
    """``sum of f(message)``.

    Attributes:
        f: elementwise; may read parameters, which get gradients.
    """

    f: Callable[[Tensor], Tensor]
    remembers = False

    def start(self, messages, num_dst):
        like = self.f(messages)
        return (like.new_zeros(num_dst, like.size(1)),)

    def absorb(self, messages, piece, state):
        piece.add(self.f(messages), state[0])

    def value(self, state):
        return state[0]

    def adjoint(self, state, grad):
        return (grad,)

    def seeds(self, messages, piece, adjoint):
        return [(self.f(messages), piece.at_edges(adjoint[0]))]


@dataclass(frozen=True)
class Extremum(Statistic):
    """The maximum or minimum; 0 without messages. Ties share the gradient as in PyG (`neighbours.extremum`)."""

    largest: bool
    compares = True

    def start(self, messages, num_dst):
        return nothing_seen(messages, num_dst, self.largest)

    def absorb(self, messages, piece, state):
        value, count = map(piece.of, state)
        ops.extremum(piece.indptr, piece.places, messages.contiguous(), value, count, largest=self.largest)

    def value(self, state):
        value, count = state
        return value.masked_fill_(count == 0, 0)

    def adjoint(self, state, grad):
        value, count = state
        return value, shares_of_ties(grad.contiguous(), value, count)

    def seeds(self, messages, piece, adjoint):
        value, share = map(piece.of, adjoint)
        grad = torch.zeros_like(messages, memory_format=torch.contiguous_format)
        # Seen from its source, the message itself, each edge is a row with one destination.
        indptr = torch.arange(len(messages) + 1, device=messages.device)
        dst = piece.dst.to(torch.int32)
        ops.extremum_backward(indptr, dst, messages.detach().contiguous(), value, share, grad)
        return [(messages, grad)]


@dataclass(frozen=True)
class Product(Statistic):
    """The product; 1 without messages. Zeros are counted apart, as the product of the others is a zero's gradient."""

    def start(self, messages, num_dst):
        shape = num_dst, messages.size(1)
        return messages.new_ones(shape), torch.zeros(shape, dtype=torch.int32, device=messages.device)

    def absorb(self, messages, piece, state):
        product, zeros = map(piece.of, state)
        index, is_zero = piece.dst.unsqueeze(1).expand_as(messages), messages == 0
        product.scatter_reduce_(0, index, messages.masked_fill(is_zero, 1), "prod")
        zeros.index_add_(0, piece.dst, is_zero.to(zeros.dtype))

    def value(self, state):
        product, zeros = state
        return product.masked_fill(zeros > 0, 0)

    def adjoint(self, state, grad):
        product, zeros = state
        return product * grad, zeros

    def seeds(self, messages, piece, adjoint):
        product, zeros = map(piece.at_edges, adjoint)
        is_zero = messages.detach() == 0
        has_gradient = zeros == is_zero.to(zeros.dtype)
        others = product / messages.detach().masked_fill(is_zero, 1)
        return [(messages, others.masked_fill_(~has_gradient, 0))]


@dataclass(frozen=True)
class SoftmaxSum(Statistic):
    """The sum of messages weighted by the softmax of ``t * message`` over neighbours, column by column (Li 2020).

    The softmax is online (Milakov & Gimelshein 2018): a larger maximum scales what was summed before it.

    Attributes:
        t: gives the inverse temperature: a number, or a tensor that gets a gradient.
        weights_have_gradient: whether gradients pass through the weights.
    """

    t: Callable[[], Any]
    weights_have_gradient: bool

    def start(self, messages, num_dst):
        scaled = messages * self.t()  # which may be of a wider dtype
        least = scaled.new_full((num_dst, messages.size(1)), -torch.inf)
        return least, torch.zeros_like(least), torch.zeros_like(least)

    def absorb(self, messages, piece, state):
        scaled = messages * self.t()
        before, total, weighted = map(piece.of, state)
        after = before.scatter_reduce(0, piece.dst.unsqueeze(1).expand_as(scaled), scaled, "amax")
        shrinks = torch.where(before == after, 1, (before - after).exp())
        before.copy_(after)
        total.mul_(shrinks)
        weighted.mul_(shrinks)
        exponential = (scaled - piece.at_edges(state[0])).exp_()
        piece.add(exponential, state[1])
        piece.add(exponential.mul_(messages), state[2])

    def value(self, state):
        _, total, weighted = state
        return weighted / (total + _LEAST)

    def adjoint(self, state, grad):
        maximum, total, weighted = state
        share = grad / (total + _LEAST)
        return maximum, share, weighted / (total + _LEAST) * share

    def seeds(self, messages, piece, adjoint):
        maximum, share, of_weights = map(piece.at_edges, adjoint)
        if not self.weights_have_gradient:
            with torch.no_grad():
                return [(messages, (messages * self.t() - maximum).exp_().mul_(share).to(messages.dtype))]
        exponential = (messages * self.t() - maximum).exp()
        return [(exponential * messages, share), (exponential, of_weights.neg_())]


Values = Mapping[Statistic, Tensor]


@dataclass(frozen=True)
class Decomposition:
    """An aggregation as a function of statistics.

    Attributes:
        statistics: of the messages, all different.
        formula: takes the statistics of some destinations, each ``[n, …]`` as a message is, and these destinations'
            in-degrees, int64 ``[n]``; returns their rows. Differentiable, row by row; may read parameters. None: the
            aggregation is its only statistic.
        linear: whether ``formula`` is linear in the statistics, with nothing learned in it.
    """

    statistics: tuple[Statistic, ...]
    formula: Callable[[Values, Tensor], Tensor] | None = None
    linear: bool = True

    @property
    def remembers(self) -> bool:
        """Whether backward needs the statistics."""
        return not self.linear or any(statistic.remembers for statistic in self.statistics)

    def finish(self, values: Values, degree: Tensor) -> Tensor:
        """The aggregation of some destinations; see ``formula``."""
        return values[self.statistics[0]] if self.formula is None else self.formula(values, degree)
