"""Names of PyTorch that are not here, and what to use instead."""

_IN_PLACE = "nothing is changed in place; write x = {}(x)"
_PAIR = "write {}(..., return_indices=True)"
_PARAMETRIZED = "write nn.utils.parametrize.remove_parametrizations(module, 'weight')"
_BASE = "use RNN, LSTM, GRU or their cells, or `scan` over a step of your own"

LAYERS = {
    "DataParallel": "there is one process, which uses all cores",
    "CrossMapLRN2d": "use LocalResponseNorm",
    "NLLLoss2d": "use NLLLoss, which takes (N, C, H, W) too",
    "Container": "use Module",
    "RNNBase": _BASE,
    "RNNCellBase": _BASE,
    "LinearCrossEntropyOptions": "the compiler decides how LinearCrossEntropyLoss is computed",
}
FUNCTIONS = {
    **{f"{n}_": _IN_PLACE.format(n)
       for n in ("celu", "elu", "hardtanh", "leaky_relu", "relu", "rrelu", "selu", "threshold")},
    **{f"{n}_with_indices": _PAIR.format(n)
       for kind in ("", "adaptive_", "fractional_") for n in (f"{kind}max_pool{r}d" for r in (1, 2, 3))},
    "upsample_nearest": "write interpolate(x, size, mode='nearest')",
    "upsample_bilinear": "write interpolate(x, size, mode='bilinear', align_corners=True)",
    "conv_tbc": "use conv1d, with the axes (batch, channels, time)",
    "native_channel_shuffle": "use channel_shuffle",
    "multi_head_attention_forward": "use nn.MultiheadAttention or scaled_dot_product_attention",
    "grouped_mm": "use matmul of stacked matrices",
    "scaled_mm": "multiply by the scales and use matmul",
}  # fmt: skip
TOOLS = {
    "clip_grad_norm": "use clip_grad_norm_",
    "remove_weight_norm": _PARAMETRIZED,
    "remove_spectral_norm": _PARAMETRIZED,
    "skip_init": "tensors are computed when they are looked at, so initial values that are replaced cost nothing",
    "convert_conv2d_weight_memory_format": "the compiler decides the layout of weights",
    "convert_conv3d_weight_memory_format": "the compiler decides the layout of weights",
}
INITIAL = {
    n: f"use {n}_"
    for n in ("constant", "dirac", "kaiming_normal", "kaiming_uniform", "normal", "orthogonal", "sparse", "uniform",
              "xavier_normal", "xavier_uniform")
}  # fmt: skip
