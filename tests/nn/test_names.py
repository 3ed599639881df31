"""What of PyTorch's public names is absent, by reason. docs/everything.md says the same in words."""

from __future__ import annotations

import importlib
import types

import pytest

import weft as wf

ABSENT = {
    "one process": {"DataParallel"},
    "another name here": {
        "Container", "CrossMapLRN2d", "NLLLoss2d", "native_channel_shuffle", "conv_tbc", "upsample_bilinear",
        "upsample_nearest", "clip_grad_norm", "remove_spectral_norm", "remove_weight_norm",
        *[f"{kind}max_pool{r}d_with_indices" for kind in ("", "adaptive_", "fractional_") for r in (1, 2, 3)],
    },
    "nothing is changed in place": {
        *[f"{n}_" for n in ("celu", "elu", "hardtanh", "leaky_relu", "relu", "rrelu", "selu", "threshold")],
        "constant", "dirac", "kaiming_normal", "kaiming_uniform", "normal", "orthogonal", "sparse", "uniform",
        "xavier_normal", "xavier_uniform",
    },
    "inner parts": {
        "RNNBase", "RNNCellBase", "multi_head_attention_forward", "factory_kwargs", "PackedSequence_", "bind",
        "invert_permutation", "OpaqueBase", "get_swap_module_params_on_conversion", "is_opaque_reference_type",
        "is_traceable_wrapper_subclass", "transfer_parametrizations_and_params", "type_before_parametrizations",
        "swap_in_optimizer_params_and_state", "T_destination", "call_super_init", "dump_patches",
        "OptimizerPostHook", "OptimizerPreHook", "profile_hook_step", "Optimizer", "Tensor", "boolean_dispatch",
        "BroadcastingList1", "BroadcastingList2", "BroadcastingList3", "assert_int_or_pair", "copy_method_params",
        "handle_torch_function", "has_torch_function", "has_torch_function_unary", "has_torch_function_variadic",
    },
    "the compiler decides": {"LinearCrossEntropyOptions", "compile"},
    "devices and layouts": {
        "grouped_mm", "scaled_grouped_mm", "scaled_mm", "ScalingType", "SwizzleType", "skip_init",
        "convert_conv2d_weight_memory_format", "convert_conv3d_weight_memory_format", "cuda", "ipu", "mtia", "xpu",
        "share_memory", "to_empty", "type",
    },
    "gradients are dense": {"SparseAdam"},
    "state is tensors by name": {
        "get_extra_state", "set_extra_state", "register_state_dict_pre_hook", "register_state_dict_post_hook",
        "register_load_state_dict_pre_hook", "register_load_state_dict_post_hook",
    },
    "not built": {"register_backward_hook", "register_step_pre_hook", "register_step_post_hook"},
}  # fmt: skip

PLACES = ("nn", "nn.functional", "nn.init", "nn.utils", "nn.utils.rnn", "nn.utils.parametrize",
          "nn.utils.parametrizations", "optim", "optim.lr_scheduler")  # fmt: skip
KINDS = ("nn.Module", "optim.Optimizer", "nn.Sequential", "nn.ModuleList", "nn.ModuleDict", "nn.ParameterList",
         "nn.ParameterDict")  # fmt: skip


def _inside(root, path):
    for part in path.split("."):
        root = getattr(root, part)
    return root


def _missing(path):
    torch = pytest.importorskip("torch")
    if path in PLACES:
        theirs = importlib.import_module("torch." + path)
        names = {
            n for n, o in vars(theirs).items()
            if not isinstance(o, types.ModuleType) and str(getattr(o, "__module__", "")).startswith("torch")
        }  # fmt: skip
    else:
        names = set(dir(_inside(torch, path)))
    return {n for n in names if not n.startswith("_")} - set(dir(_inside(wf, path)))


@pytest.mark.parametrize("path", [*PLACES, *KINDS])
def test_what_is_absent_is_absent_for_a_reason(path):
    assert _missing(path) - set().union(*ABSENT.values()) == set()


def test_nothing_on_the_list_is_there_by_now():
    missing = set().union(*[_missing(path) for path in (*PLACES, *KINDS)])
    wrong = {r: sorted(names - missing) for r, names in ABSENT.items()}
    allowed = {"fractional_max_pool1d_with_indices"}  # not there in either
    assert {r: n for r, n in wrong.items() if set(n) - allowed} == {}


@pytest.mark.parametrize(
    ("module", "name", "says"),
    [
        (wf.nn, "DataParallel", "one process, which uses all cores"),
        (wf.nn, "Liner", "Did you mean 'Linear'"),
        (wf.nn.functional, "relu_", r"nothing is changed in place; write x = relu\(x\)"),
        (wf.nn.functional, "max_pool2d_with_indices", "return_indices=True"),
        (wf.nn.functional, "crossentropy", "'cross_entropy'"),
        (wf.nn.init, "xavier_uniform", "use xavier_uniform_"),
        (wf.nn.init, "orthogonl_", "'orthogonal_'"),
        (wf.nn.utils, "clip_grad_norm", "use clip_grad_norm_"),
        (wf.optim, "SparseAdam", "gradients are dense; use Adam"),
        (wf.optim, "swa_utils", "AveragedModel"),
        (wf.optim, "nothing_like_it", "has no attribute 'nothing_like_it'$"),
    ],
)
def test_absent_names_say_what_to_use(module, name, says):
    with pytest.raises(AttributeError, match=says):
        getattr(module, name)
    assert not hasattr(module, name)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda p: wf.optim.Adam(p, fused=True), "Leave 'fused' out: the compiler decides"),
        (lambda p: wf.nn.utils.clip_grad_norm_(p, 1.0, foreach=True), "Leave 'foreach' out"),
        (lambda p: wf.nn.MSELoss(size_average=False), "Leave 'size_average' out: reduction="),
    ],
)
def test_arguments_that_are_not_needed_say_so(call, says):
    with pytest.raises(wf.errors.ArgumentError, match=says):
        call([wf.tensor([1.0], requires_grad=True)])
