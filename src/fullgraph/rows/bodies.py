"""Functions that torch writes in Python, of its others: they mean in the global view what their own code says there.

Such a function asks first whether a class of tensor does it instead, which leads to the table of meanings; here is the
same code, which does not ask. It runs as a program's code does: sizes are the whole graph's, and what it calls has a
meaning or is refused. To write the code anew would be to follow torch's checks and defaults from version to version.
"""

from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.rows.tensor import MEANINGS

_ASKING = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")


def body_of(func: Any) -> Callable[..., Any]:
    """The function of torch, not asking."""
    names = {**func.__globals__, **dict.fromkeys(_ASKING, lambda *given: False)}
    body = FunctionType(func.__code__, names, func.__name__, func.__defaults__, func.__closure__)
    body.__kwdefaults__ = func.__kwdefaults__
    return body


def _means_its_body(func: Any) -> None:
    body = body_of(func)
    MEANINGS[func] = lambda func, args, kwargs: body(*args, **kwargs)


_OF_FUNCTIONAL = """alpha_dropout batch_norm dropout dropout1d dropout2d dropout3d embedding feature_alpha_dropout
    gaussian_nll_loss group_norm gumbel_softmax instance_norm local_response_norm log_softmax
    multilabel_soft_margin_loss normalize softmax softmin
    triplet_margin_with_distance_loss"""

for _name in _OF_FUNCTIONAL.split():
    _means_its_body(getattr(F, _name))
for _func in (torch.norm, torch.tensordot, Tensor.__contains__, Tensor.norm):
    _means_its_body(_func)
