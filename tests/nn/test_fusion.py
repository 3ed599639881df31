"""Batch normalisation folded into the layer before it, and converted to its synchronised kind."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from composites import spread
from weft import nn
from weft.base.errors import ArgumentError

CASES = {
    "Linear": ((3, 4), {}, "BatchNorm1d", spread(5, 3)),
    "Conv1d": ((3, 4, 2), {"bias": False}, "BatchNorm1d", spread(2, 3, 4)),
    "Conv2d": ((4, 6, 2), {"groups": 2}, "BatchNorm2d", spread(2, 4, 4, 5)),
    "Conv3d": ((3, 4, 2), {}, "BatchNorm3d", spread(2, 3, 4, 5, 4)),
    "ConvTranspose2d": ((3, 4, 2), {}, "BatchNorm2d", spread(2, 3, 4, 5)),
}


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_one_layer_does_what_two_do(name, affine):
    arguments, options, norm, x = CASES[name]
    layer = getattr(nn, name)(*arguments, **options).double()
    bn = getattr(nn, norm)(arguments[1], affine=affine).double()
    for _ in range(3):
        bn(layer(wf.tensor(x)))
    if affine:
        nn.init.normal_(bn.weight)
        nn.init.normal_(bn.bias)
    layer.eval(), bn.eval()
    fuse = nn.utils.fuse_linear_bn_eval if name == "Linear" else nn.utils.fuse_conv_bn_eval
    fused = fuse(layer, bn)
    assert type(fused) is type(layer) and fused is not layer
    np.testing.assert_allclose(
        fused(wf.tensor(x)).numpy(), bn(layer(wf.tensor(x))).numpy(), rtol=1e-9, atol=1e-12
    )


def test_what_cannot_be_folded_is_named():
    conv, bn = nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4)
    with pytest.raises(ArgumentError, match="eval"):
        nn.utils.fuse_conv_bn_eval(conv, bn)
    with pytest.raises(ArgumentError, match="running statistics"):
        nn.utils.fuse_conv_bn_eval(conv.eval(), nn.BatchNorm2d(4, track_running_stats=False).eval())
    with pytest.raises(ArgumentError, match="takes a linear layer"):
        nn.utils.fuse_linear_bn_eval(conv, bn.eval())
    with pytest.raises(ArgumentError, match="in groups"):
        nn.utils.fuse_conv_bn_eval(nn.ConvTranspose2d(4, 4, 2, groups=2).eval(), bn)


def test_synchronised_norms_are_plain_ones_in_one_process():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4), nn.ModuleDict({"a": nn.BatchNorm1d(2, affine=False)})
    )
    before, tensors = dict(net.state_dict()), [*net.parameters(), *net.buffers()]
    images = wf.tensor(spread(2, 4, 3, 5).astype("float32"))
    plain = nn.BatchNorm2d(4)
    want = plain(images).numpy()
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    assert converted is net and type(net[1]) is nn.SyncBatchNorm and type(net[2]["a"]) is nn.SyncBatchNorm
    assert list(net.state_dict()) == list(before)
    assert all(a is b for a, b in zip([*net.parameters(), *net.buffers()], tensors, strict=True))
    np.testing.assert_array_equal(net[1](images).numpy(), want)
    np.testing.assert_array_equal(net[1].running_mean.numpy(), plain.running_mean.numpy())
    alone = nn.SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm1d(3).eval())
    assert type(alone) is nn.SyncBatchNorm and not alone.training
    assert nn.SyncBatchNorm.convert_sync_batchnorm(alone) is alone
    with pytest.raises(wf.errors.ShapeError, match="2"):
        alone(wf.ones(3))
