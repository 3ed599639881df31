"""Functions of PyTorch and NumPy that have another name or place here, or none."""

from __future__ import annotations

_RENAMED = {
    "amax": "max", "amin": "min", "bmm": "matmul", "div": "divide", "eq": "equal", "fmod": "remainder",
    "ge": "greater_equal", "ger": "outer", "gt": "greater", "inner": "vecdot", "le": "less_equal", "lt": "less",
    "mm": "matmul", "mod": "remainder", "mul": "multiply", "mv": "matmul", "ne": "not_equal", "neg": "negative",
    "power": "pow", "repeat_interleave": "repeat", "sub": "subtract", "take_along_dim": "take_along_axis",
    "true_divide": "divide", "unbind": "unstack", "unique": "unique_values", "vdot": "vecdot",
}  # fmt: skip
_LINALG = (
    "cholesky", "cross", "det", "diagonal", "eig", "eigh", "inv", "matrix_power", "pinv", "qr", "slogdet", "solve",
    "svd", "trace",
)  # fmt: skip
_NN = (
    "celu", "conv1d", "conv2d", "cosine_similarity", "cross_entropy", "dropout", "elu", "embedding", "gelu", "glu",
    "hardshrink", "layer_norm", "leaky_relu", "linear", "log_softmax", "logsigmoid", "max_pool2d", "mse_loss",
    "normalize", "one_hot", "pad", "prelu", "relu", "sigmoid", "silu", "softmax", "softplus",
)  # fmt: skip
FUNCTIONS = {
    **{name: f"use weft.{here}" for name, here in _RENAMED.items()},
    **{name: f"use weft.linalg.{name}" for name in _LINALG},
    **{name: f"use weft.nn.functional.{name}" for name in _NN},
    "allclose": "use numpy.allclose, which takes tensors",
    "chunk": "use weft.split",
    "cuda": "there is one device so far, the CPU",
    "dot": "use weft.matmul, or weft.vecdot",
    "gather": "use weft.take_along_axis",
    "index_select": "use weft.take",
    "inverse": "use weft.linalg.inv",
    "logsumexp": "shift by the maximum: m + weft.log(weft.sum(weft.exp(x - m)))",
    "masked_fill": "write weft.where(mask, value, x)",
    "norm": "use weft.linalg.vector_norm or weft.linalg.matrix_norm",
    "array": "use weft.asarray, or weft.tensor",
    "autograd": "use weft.grad, weft.vjp, weft.custom_vjp and their like",
    "cat": "use weft.concat",
    "clamp": "use weft.clip",
    "cumprod": "use weft.cumulative_prod",
    "cumsum": "use weft.cumulative_sum",
    "device": "there is one device so far, the CPU",
    "double": "the dtype is weft.float64",
    "float": "the dtype is weft.float32",
    "from_torch": "use weft.from_dlpack",
    "half": "the dtype is weft.float16",
    "hstack": "use weft.concat along axis 1",
    "int": "the dtype is weft.int32",
    "is_tensor": "use isinstance(x, weft.Tensor)",
    "jit": "use weft.compile",
    "long": "the dtype is weft.int64",
    "permute": "use weft.permute_dims",
    "ravel": "use weft.flatten",
    "set_grad_enabled": "use weft.enable_grad and weft.no_grad",
    "transpose": "use weft.permute_dims or weft.swapaxes",
    "unsqueeze": "use weft.expand_dims",
    "utils": "loaders are in weft.data, clipping is in weft.optim",
    "vstack": "use weft.concat along axis 0",
}
