"""Recurrent layers and attention, of each row by itself and between all rows, are those of one process."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fullgraph.comm import World
from tests.ranks import run_ranks
from tests.rows.comparing import Case, Data, differences, not_raised

N, E = 7, 4


def _data() -> Data:
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    return {
        "x": (draw(N, E), 0),
        "y": (draw(N, E), 0),
        "batch": (draw(N, 3, E), 0),
        "turned": (draw(3, N, E), 1),
        "h": (draw(N, 5), 0),
        "heads": (draw(2, N, E), 1),
        "H": (draw(N, 5), None),
        "states": (draw(1, N, 5), None),
        "few": (draw(3, E), None),
        "padding": (torch.arange(N * 3).view(N, 3) % 3 == 1, 0),
        **{name: (x, None) for name, x in _weights(generator).items()},
    }


def _weights(generator: torch.Generator) -> dict[str, Tensor]:
    """Of cells with three and with four gates, and of attention."""
    sizes = {"wi": (20, E), "wh": (20, 5), "bi": (20,), "bh": (20,), "wp": (3 * E, E), "bp": (3 * E,), "wo": (E, E)}
    return {name: torch.randn(size, dtype=torch.float64, generator=generator) for name, size in sizes.items()}


def _cell(d, gates: int) -> list[Tensor]:
    return [w[: 5 * gates] for w in (d.wi, d.wh, d.bi, d.bh)]


def _recurrent(d, func, gates: int, input: Tensor, state, *, batch_first: bool, training: bool = False):
    return func(input, state, _cell(d, gates), True, 1, 0.5, training, False, batch_first)


def _attend(d, query: Tensor, key: Tensor, value: Tensor, **options):
    more = (d.wp, d.bp, None, None, False, 0.0, d.wo, d.bp[:E])
    return F.multi_head_attention_forward(query, key, value, E, 2, *more, **options)


CASES: dict[str, Case] = {
    "gru_cell": lambda d: (
        torch.gru_cell(d.x, d.h, *_cell(d, 3)) + torch.gru_cell(d.few.new_ones(N, E), d.h, *_cell(d, 3))
    ),
    "lstm_cell": lambda d: torch.lstm_cell(d.x, [d.h, d.H], *_cell(d, 4)),
    "rnn_tanh_cell": lambda d: torch.rnn_tanh_cell(d.x, d.H, *_cell(d, 1)),
    "rnn_relu_cell": lambda d: torch.rnn_relu_cell(d.x, d.h, *_cell(d, 1)),
    "lstm": lambda d: _recurrent(d, torch.lstm, 4, d.batch, [d.h[None], d.states], batch_first=True),
    "lstm turned": lambda d: _recurrent(d, torch.lstm, 4, d.turned, [d.states, d.states], batch_first=False),
    "gru": lambda d: _recurrent(d, torch.gru, 3, d.batch, d.states, batch_first=True),
    "rnn_tanh": lambda d: _recurrent(d, torch.rnn_tanh, 1, d.turned, d.states, batch_first=False, training=True),
    "rnn_relu": lambda d: _recurrent(d, torch.rnn_relu, 1, d.batch, d.states, batch_first=True),
    "attention of each": lambda d: F.scaled_dot_product_attention(d.batch, d.batch, d.batch + 1),
    "attention with a mask": lambda d: F.scaled_dot_product_attention(d.batch, d.batch, d.batch, d.few[:, :3]),
    "attention causal": lambda d: F.scaled_dot_product_attention(d.batch, d.batch, d.batch, is_causal=True),
    "attention to a mask": lambda d: F.scaled_dot_product_attention(
        d.batch, d.batch, d.batch, attn_mask=~d.padding[:, None, :]
    ),
    "attention of all": lambda d: F.scaled_dot_product_attention(d.x, d.x, d.y, scale=0.3),
    "attention of all, heads": lambda d: F.scaled_dot_product_attention(d.heads[None], d.heads[None], d.heads[None]),
    "attention to few": lambda d: F.scaled_dot_product_attention(d.x, d.few, d.few),
    "attention of few": lambda d: F.scaled_dot_product_attention(d.few, d.x, d.y),
    "multi-head of all": lambda d: _attend(d, d.x, d.x, d.x),
    "multi-head of all, two": lambda d: _attend(d, d.x, d.y, d.x, need_weights=False),
    "multi-head of one sequence": lambda d: _attend(
        d, d.x[:, None], d.y[:, None], d.y[:, None], average_attn_weights=False
    ),
    "multi-head of few": lambda d: _attend(d, d.few, d.x, d.x),
    "multi-head to few": lambda d: _attend(d, d.x, d.few, d.few),
    "multi-head of all, padded": lambda d: _attend(d, d.x, d.x, d.x, key_padding_mask=d.padding[:, 0]),
    "multi-head of each": lambda d: _attend(d, d.turned, d.turned, d.turned),
    "multi-head of each with a mask": lambda d: _attend(
        d, d.turned, d.turned, d.turned, key_padding_mask=d.padding, attn_mask=d.few[:, :3] > 1
    ),
    "multi-head of all with a mask": lambda d: _attend(d, d.x, d.x, d.x, attn_mask=d.x @ d.x.T),
}
REFUSED: dict[str, Case] = {
    "rows in time": lambda d: _recurrent(d, torch.gru, 3, d.batch, d.states, batch_first=False),
    "cell of columns": lambda d: torch.rnn_tanh_cell(d.x.T, d.h.T, d.x, *_cell(d, 1)[1:]),
    "dropout": lambda d: F.scaled_dot_product_attention(d.x, d.x, d.x, dropout_p=0.5),
    "mask of all": lambda d: F.scaled_dot_product_attention(d.x, d.x, d.x, d.x @ d.few.T),
    "causal": lambda d: F.scaled_dot_product_attention(d.x, d.x, d.x, is_causal=True),
    "features": lambda d: F.scaled_dot_product_attention(d.x.T, d.x.T, d.x.T),
}


def _compare(world: World) -> list[str]:
    return differences(world, _data(), N, CASES, second=False)


def _second(world: World) -> list[str]:
    names = ("gru_cell", "attention of all", "multi-head of all", "multi-head of few")
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        return differences(world, _data(), N, {name: CASES[name] for name in names}, tolerance=1e-10)


def _refuse(world: World) -> list[str]:
    return not_raised(world, _data(), N, REFUSED)


def _modules(world: World) -> list[str]:
    """The modules of torch, whose checks and packing go around these functions."""
    torch.manual_seed(1)
    attention = nn.MultiheadAttention(E, 2, batch_first=True).double()
    encoder = nn.TransformerEncoderLayer(E, 2, 8, dropout=0.0, batch_first=True).double()
    cells = nn.GRUCell(E, 5).double(), nn.LSTMCell(E, 5).double()
    cases: dict[str, Case] = {
        "attention": lambda d: attention(d.x[None], d.x[None], d.x[None]),
        "attention in evaluation": lambda d: attention.eval()(d.batch, d.batch, d.batch),
        "encoder": lambda d: encoder(d.x[None]),
        "cells": lambda d: (cells[0](d.x, d.h), cells[1](d.x, (d.h, d.h))),
    }
    return differences(world, _data(), N, cases, second=False)


@pytest.mark.parametrize("num_ranks", [1, 3])
@pytest.mark.parametrize("check", [_compare, _second, _refuse, _modules])
def test_sequences_are_those_of_one_process(check, num_ranks: int) -> None:
    assert run_ranks(num_ranks, check) == [[]] * num_ranks
