"""A user's ``torch.autograd.Function`` runs in the global view: it is given `Rows` in forward and in backward.

Torch calls these by no function that a tensor's class could take over, and gives their backward the plain local
gradients: a sum over rows written there would be this rank's. So a Function with `Rows` among its arguments runs as a
twin of itself, whose context knows which tensors were rows of what.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction, _SingleLevelFunction

from fullgraph.rows.adjoints import gather
from fullgraph.rows.calls import refuse
from fullgraph.rows.gradients import as_rows, functions_on, own_rows
from fullgraph.rows.space import Space
from fullgraph.rows.tensor import Rows, is_rows, rows

Kind = tuple[Space, int] | None
"""Of `Rows` the space and the dimension; None of anything else."""

_OURS = __name__.partition(".")[0] + "."


def _kinds(values: Any) -> list[Kind]:
    return [(x._space, x._dim) if isinstance(x, Rows) else None for x in _several(values)]


def _several(values: Any) -> tuple[Any, ...]:
    return values if isinstance(values, tuple) else (values,)


def _as_given(grads: Any, kinds: list[Kind]) -> tuple[Any, ...]:
    """Autograd's gradients as the program shall see them."""
    return tuple(as_rows(g, *kind) if kind is not None else g for g, kind in zip(grads, kinds, strict=True))


@dataclass(eq=False)
class _Call:
    """One call of a Function.

    Attributes:
        arguments: what it was given: `Rows`' kinds and None for others.
        shapes: the whole graph's shape of each argument that is a tensor, else None.
        results: what it returned, kinds as above.
    """

    arguments: list[Kind]
    shapes: list[torch.Size | None]
    results: list[Kind]

    def for_autograd(self, grads: Any, places: list[int], name: str) -> tuple[Any, ...]:
        """Gradients of the arguments at ``places``, as the program made them, in autograd's form."""
        return tuple(self._for_autograd(g, place, name) for g, place in zip(grads, places, strict=False))

    def _for_autograd(self, grad: Any, place: int, name: str) -> Any:
        kind, shape = self.arguments[place], self.shapes[place]
        if not isinstance(grad, Tensor) or shape is None:
            return grad
        if kind is None and not is_rows(grad):
            return grad
        if not is_rows(grad) and grad.grad_fn is not None and grad.grad_fn.name() == "torch::autograd::Error":
            refuse(name, "is once_differentiable, which loses what is rows when create_graph=True is asked for")
        grad = _summed_to(grad, shape, name, place)
        return gather(grad) if kind is None else own_rows(grad, *kind)


def _summed_to(grad: Tensor, shape: torch.Size, name: str, place: int) -> Tensor:
    """A gradient summed over the dimensions that its argument was broadcast along, as autograd itself does."""
    lead = grad.dim() - len(shape)
    wide = [d for d in range(max(lead, 0), grad.dim()) if shape[d - lead] == 1 != grad.shape[d]]
    if lead < 0 or any(grad.shape[d] != shape[d - lead] for d in range(lead, grad.dim()) if d not in wide):
        raise RuntimeError(
            f"Function {name} returned an invalid gradient at index {place} - got {list(grad.shape)} "
            f"but expected shape compatible with {list(shape)}"
        )
    grad = grad.sum(wide, keepdim=True) if wide else grad
    return grad.sum(list(range(lead))) if lead else grad


class _Context(BackwardCFunction):
    """The context of a Function, and its node in the graph: all in the global view."""

    _forward_cls: Any
    _call: _Call
    _saved_kinds: list[Kind]
    name: Any  # of every node of the graph

    def save_for_backward(self, *tensors: Any) -> None:
        self._saved_kinds = _kinds(tensors)
        super().save_for_backward(*tensors)

    @property
    def saved_tensors(self) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Autograd gives new tensors of the memory that it saved, which are this property's to change."""
        found = super().saved_tensors
        return tuple(
            rows(x, *kind) if kind is not None else x for x, kind in zip(found, self._saved_kinds, strict=True)
        )

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Without the call's, which comes first."""
        return super().needs_input_grad[1:]

    def apply(self, *grads: Any) -> tuple[Any, ...]:
        with functions_on():
            made = _several(super().apply(*_as_given(grads, self._call.results)))
            places = list(range(len(self._call.arguments)))
            return None, *self._call.for_autograd(made, places, self.name()), *made[len(places) :]

    def apply_boxed(self, *args: Any) -> tuple[Any, ...]:
        return self.apply(*args[0])  # which puts them into a list again

    def register_hook(self, hook: Any) -> Any:  # what full backward hooks of modules are made of
        call = self._call
        places = [place for place, shape in enumerate(call.shapes) if shape is not None]

        def on_own_rows(inputs: Any, outputs: Any) -> Any:
            with functions_on():
                given = _as_given(inputs, [call.arguments[place] for place in places])
                answer = hook(given, _as_given(outputs, call.results))
                return None if answer is None else call.for_autograd(answer, places, self.name())

        return super().register_hook(on_own_rows)

    def register_prehook(self, hook: Any) -> Any:
        refuse(self.name(), "was given rows, and takes no hook before its backward; Tensor.register_hook takes one")


def _twin(of: type[_SingleLevelFunction]) -> type[_SingleLevelFunction]:
    """The Function that runs in the global view, which takes the `_Call` first: made once, and kept with ``of``."""
    known = of.__dict__.get("_twin_for_rows")
    if known is not None:
        return known

    def forward(ctx: Any, call: _Call, *args: Any) -> Any:
        ctx._call, ctx._saved_kinds = call, []
        made = of.forward(ctx, *args)  # pyright: ignore[reportAttributeAccessIssue]
        call.results = _kinds(made)
        return made

    def forward_alone(call: _Call, *args: Any) -> Any:
        made = of.forward(*args)  # pyright: ignore[reportAttributeAccessIssue]
        call.results = _kinds(made)
        return made

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx._call, ctx._saved_kinds = inputs[0], []
        of.setup_context(ctx, inputs[1:], output)  # pyright: ignore[reportAttributeAccessIssue]

    if of.setup_context is _SingleLevelFunction.setup_context:  # pyright: ignore[reportAttributeAccessIssue]
        methods = {"forward": staticmethod(forward)}
    else:
        methods = {"forward": staticmethod(forward_alone), "setup_context": staticmethod(setup_context)}
    twin: Any = type(of)(of.__name__, (of,), {**methods, "__module__": of.__module__})  # pyright: ignore[reportCallIssue]
    known = {"_forward_cls": twin, "_autograd_function_id": of._backward_cls._autograd_function_id}  # pyright: ignore[reportAttributeAccessIssue]
    twin._backward_cls = type(of.__name__ + "Backward", (_Context,), known)  # pyright: ignore[reportAttributeAccessIssue]
    of._twin_for_rows = twin  # pyright: ignore[reportAttributeAccessIssue]
    return twin


def _apply(cls: type[_SingleLevelFunction], *args: Any, **kwargs: Any) -> Any:
    """``apply`` of every Function: as it is, unless the program gives `Rows` to one of its own."""
    own = super(_SingleLevelFunction, cls)
    if not any(type(arg) is Rows for arg in args) or not _is_users(cls):
        made = own.apply(*args, **kwargs)  # pyright: ignore[reportAttributeAccessIssue]
        if any(type(x) is Rows and x.requires_grad for x in _several(made)) and _is_users(cls):
            refuse(cls.__name__, "makes rows of some that are not among its arguments; give them to it")
        return made
    call = _Call(_kinds(args), [arg.shape if isinstance(arg, Tensor) else None for arg in args], [])
    made = super(_SingleLevelFunction, _twin(cls)).apply(call, *args, **kwargs)  # pyright: ignore[reportAttributeAccessIssue]
    for result, kind in zip(_several(made), call.results, strict=True):
        if kind is not None:
            rows(result, *kind)  # an argument that is returned as it is comes back as a new, plain view
    return made


def _is_users(of: type) -> bool:
    """Whether a Function is to see the global view: none of ours, nor within a function of torch on local rows."""
    return not of.__module__.startswith(_OURS) and torch._C._is_torch_function_enabled()


# Below ``torch.autograd.Function.apply``, which a program may hold already, as in ``mine = Mine.apply``.
_SingleLevelFunction.apply = classmethod(_apply)  # pyright: ignore[reportAttributeAccessIssue]
