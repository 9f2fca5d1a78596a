"""Which functions of torch are called blindly, and of which results what can be compared."""

import warnings
from typing import Any

from torch.overrides import get_overridable_functions, resolve_name


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NOT_CALLED = _words(
    """apply_ map_ map2_ record_stream pin_memory cuda xpu ipu mtia hpu __dlpack__ __dlpack_device__ module_load
    backward register_hook register_post_accumulate_grad_hook autocast lobpcg set_ resize __setstate__
    __cuda_array_interface__ _cdata share_memory_ storage_type _sym_int sym_float sym_ite sym_max sym_min sym_not
    sym_sqrt sym_sum volatile _grad_fn to_mkldnn _post_accumulate_grad_hooks _clear_non_serializable_cached_data
    __array_wrap__ fused_moving_avg_obs_fake_quant quantize_per_tensor quantize_per_channel
    quantize_per_tensor_dynamic quantized_batch_norm quantized_gru_cell quantized_lstm_cell quantized_rnn_relu_cell
    quantized_rnn_tanh_cell"""
)
"""They wait for a device, call other functions, need a state that no pattern has, or are none of a tensor's."""

OF_MEMORY = _words(
    """stride storage_offset untyped_storage storage data_ptr const_data_ptr is_contiguous _base __hash__ __repr__
    __format__ _version dim_order _is_view grad_fn output_nr is_shared get_device _backward_hooks
    _autocast_to_full_precision is_set_to __reduce_ex__ name retains_grad is_leaf"""
)
"""They describe this rank's memory, or a graph of operations that is another one."""

DRAWS = _words(
    """alpha_dropout bernoulli bernoulli_ binomial cauchy_ dropout dropout1d dropout2d dropout3d exponential_
    feature_alpha_dropout feature_dropout fractional_max_pool2d fractional_max_pool3d geometric_ gumbel_softmax
    log_normal_ multinomial native_dropout normal_ poisson rand_like randint_like randn_like random_ rrelu rrelu_
    uniform_ dropout_ alpha_dropout_ feature_dropout_ svd_lowrank pca_lowrank fractional_max_pool2d_with_indices
    fractional_max_pool3d_with_indices"""
)
"""Their results are those of rows on one rank, not of whole tensors: each row draws by its own key."""

NOT_COMPARED = _words("""empty_like new_empty new_empty_strided resize resize_ resize_as_ resize_as empty_strided""")
"""Only shapes and dtypes of their results are anybody's business."""

ANY_ALIAS = _words("data detach_ resolve_conj resolve_neg grad _grad")
"""Whether their results share memory with arguments is not compared."""

ZERO_FOR_NONE = _words("norm vector_norm linalg_norm linalg_vector_norm dist")
"""Of order 0 torch gives no gradient where rows have one of zeros."""

TORCH_IS_WRONG = frozenset(
    [
        "unique_consecutive(x, True)",
        "unique_consecutive(m, True)",
        "diff(x, 0, Es)",
        "dropout1d(x, 0, False, True)",
        "dropout3d(x, 0, False, True)",
    ]
)
"""Calls in which torch itself does something else than it says: counts that are none, a dimension that is not there, a
new version of what did not change."""


def overridable() -> dict[str, Any]:
    """Functions by their full names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        functions = {}
        for of_namespace in get_overridable_functions().values():
            for function in of_namespace:
                name = resolve_name(function) or str(function)
                if name.removesuffix(".__get__").rsplit(".", 1)[-1] not in _NOT_CALLED:
                    while name in functions and functions[name] != function:
                        name += "'"
                    functions[name] = function
    return functions
