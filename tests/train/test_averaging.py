"""Averages of weights: against PyTorch, compiled, saved, and statistics found anew."""

import numpy as np
import pytest

import weft as wf
from weft import nn
from weft.errors import ArgumentError
from weft.train import AveragedModel, get_ema_avg_fn, update_bn


def model():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


@pytest.mark.parametrize("kind", ["swa", "ema"])
@pytest.mark.parametrize("use_buffers", [False, True])
def test_averages_equal_pytorch(kind, use_buffers):
    torch = pytest.importorskip("torch")
    swa = torch.optim.swa_utils
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    ours = model()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    their_fn = swa.get_swa_avg_fn() if kind == "swa" else swa.get_ema_avg_fn(0.9)
    mine = AveragedModel(ours, avg_fn=None if kind == "swa" else get_ema_avg_fn(0.9), use_buffers=use_buffers)
    other = swa.AveragedModel(theirs, avg_fn=their_fn, use_buffers=use_buffers)
    rng = np.random.default_rng(0)
    for _ in range(4):
        for (_, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            value = rng.standard_normal(p.shape).astype("float32")
            nn.init.copy_(p, value)
            q.data = torch.tensor(value)
        x = rng.standard_normal((5, 3)).astype("float32")
        ours(wf.tensor(x)), theirs(torch.tensor(x))
        mine.update_parameters(ours)
        other.update_parameters(theirs)
    state, want = mine.state_dict(), other.state_dict()
    assert set(state) == set(want)
    for name, value in state.items():
        if use_buffers and name.endswith("tracked"):
            continue  # a number of batches: copied here, an average of integers there
        np.testing.assert_allclose(value.numpy(), want[name].numpy(), rtol=1e-5, atol=1e-6, err_msg=name)
    x = rng.standard_normal((5, 3)).astype("float32")
    np.testing.assert_allclose(
        mine.eval()(wf.tensor(x)).numpy(),
        other.eval()(torch.tensor(x)).detach().numpy(),
        rtol=1e-4,
        atol=1e-5,
    )


def test_an_average_inside_a_compiled_step():
    net = nn.Linear(2, 1, bias=False)
    averaged, optimizer = AveragedModel(net), wf.optim.SGD(net.parameters(), lr=0.5)

    @wf.compile
    def step(x):
        net(x).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        averaged.update_parameters(net)

    seen = []
    for _ in range(4):
        step(wf.ones((1, 2)))
        seen.append(net.weight.numpy())
    assert step.traces == 1 and averaged.n_averaged.item() == 4
    np.testing.assert_allclose(averaged.module.weight.numpy(), np.mean(seen, 0), rtol=1e-5)
    again = AveragedModel(nn.Linear(2, 1, bias=False))
    again.load_state_dict(averaged.state_dict())
    assert again.n_averaged.item() == 4


def test_statistics_are_found_anew():
    net = model()
    net[1].momentum, batches = (
        0.3,
        [wf.tensor(np.random.default_rng(i).standard_normal((6, 3))) for i in range(3)],
    )
    net.double().eval()
    update_bn([(b, None) for b in batches], net)
    hidden = [net[0](b).numpy() for b in batches]
    np.testing.assert_allclose(
        net[1].running_mean.numpy(), np.mean([h.mean(0) for h in hidden], 0), atol=1e-6
    )
    assert net[1].momentum == 0.3 and not net.training
    update_bn([], nn.Linear(2, 2))


def test_a_decay_outside_is_refused():
    with pytest.raises(ArgumentError, match="between 0 and 1"):
        get_ema_avg_fn(1.5)
