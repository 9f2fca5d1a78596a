"""What a tensor says of itself: shapes are the whole graph's, and what describes memory is this rank's."""

from typing import Any

from torch import Tensor

from fullgraph.rows.calls import mapped
from fullgraph.rows.table import meaning
from fullgraph.rows.tensor import global_shape, local, rows, without_memory

_OF_MEMORY = """stride storage_offset is_hpu _base dim_order names is_vulkan is_ipu is_maia is_mtia
    is_distributed grad_dtype dim ndim ndimension dtype device requires_grad is_leaf grad_fn is_floating_point
    is_complex layout is_sparse is_cuda is_cpu is_quantized is_nested is_meta is_mkldnn is_xla is_sparse_csr _version
    is_contiguous element_size itemsize is_inference is_signed get_device _backward_hooks output_nr retains_grad
    data_ptr is_conj is_neg __hash__ name is_mps is_xpu is_shared _is_view is_pinned result_type
    _is_zerotensor """
_OF_AUTOGRAD = """requires_grad= requires_grad_ retain_grad register_post_accumulate_grad_hook
    _post_accumulate_grad_hooks _backward_hooks= grad-del _grad-del _has_compatible_shallow_copy_type __dir__
    share_memory_"""
ABOUT = frozenset((_OF_MEMORY + " untyped_storage shape size __len__ numel nelement").split())
"""Names of what is asked about a tensor without reading a number of it."""


@meaning("untyped_storage")
def _untyped_storage(func: Any, args: Any, kwargs: Any) -> Any:
    """Torch's own memory, which a program may free as reversible layers do; kernels and files bring theirs."""
    (x,) = args
    if not func(x).resizable():
        x.data = x.detach().clone()
    return func(x)


meaning("shape")(lambda func, args, kwargs: global_shape(args[0]))


@meaning("size")
def _size(func: Any, args: Any, kwargs: Any) -> Any:
    shape = global_shape(args[0])
    dim = args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("axis"))
    return shape if dim is None else shape[dim]


meaning("__len__ numel nelement nbytes is_same_size")(
    lambda func, args, kwargs: func(*mapped(args, without_memory), **mapped(kwargs, without_memory))
)
meaning(_OF_MEMORY + _OF_AUTOGRAD)(lambda func, args, kwargs: func(*args, **kwargs))


@meaning("__repr__ __str__")
def _repr(func: Any, args: Any, kwargs: Any) -> str:
    return f"Rows(shape={tuple(int(n) for n in global_shape(args[0]))}, rows of this rank: {local(args[0])!r})"


meaning("__format__")(lambda func, args, kwargs: format(_repr(func, args, kwargs), args[1]))


@meaning("__deepcopy__")
def _deepcopy(func: Any, args: Any, kwargs: Any) -> Tensor:
    x, memo = args
    if not x.is_leaf:
        return func(local(x), memo)  # which raises
    copy = rows(local(x).detach().clone(), x._space, x._dim)
    copy.requires_grad_(x.requires_grad)
    if "_is_param" in vars(x):  # of torch.nn.Parameter, which is copied without its gradient
        vars(copy)["_is_param"] = vars(x)["_is_param"]
    elif x.grad is not None:
        copy.grad = rows(local(x.grad).clone(), x._space, x._dim)
    memo[id(x)] = copy
    return copy
