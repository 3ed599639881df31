"""Layers at work: dropout's randomness, running statistics, lazy layers and modes under `compile`."""

from __future__ import annotations

import numpy as np
import pytest

import weft as wf
from composites import spread
from weft import nn
from weft.base.errors import ArgumentError, IndexingError, ShapeError


def test_dropout_draws_anew_and_repeats_by_seed():
    layer, x = nn.Dropout(0.3), wf.ones((1000,))
    wf.manual_seed(3)
    first, second = layer(x).numpy(), layer(x).numpy()
    wf.manual_seed(3)
    np.testing.assert_array_equal(layer(x).numpy(), first)
    assert not np.array_equal(first, second) and abs(first.mean() - 1) < 0.1
    assert set(np.round(np.unique(first), 5)) == {0.0, np.round(np.float32(1 / 0.7), 5)}
    assert layer.eval()(x) is x
    with pytest.raises(ArgumentError, match="between 0 and 1"):
        nn.Dropout(1.5)


@pytest.mark.parametrize(
    ("name", "space"),
    [("Dropout1d", (5,)), ("Dropout2d", (3, 3)), ("Dropout3d", (2, 2, 2)), ("FeatureAlphaDropout", (4,))],
)
def test_dropout_of_channels(name, space):
    layer = getattr(nn, name)(0.3)
    out = layer(wf.ones((40, 50, *space))).numpy().reshape(40, 50, -1)
    assert (out == out[..., :1]).all()  # a channel goes as a whole
    kinds, counts = np.unique(np.round(out[..., 0], 4), return_counts=True)
    assert len(kinds) == 2 and abs(counts[0] / counts.sum() - 0.3) < 0.03
    if name != "FeatureAlphaDropout":
        np.testing.assert_allclose(kinds, [0, 1 / 0.7], atol=1e-4)
        lone = layer(wf.ones((7, *space))).numpy().reshape(7, -1)  # without a batch
        assert (lone == lone[:, :1]).all()


def test_alpha_dropout_keeps_mean_and_variance():
    out = nn.AlphaDropout(0.3)(wf.randn(200, 200)).numpy()
    assert abs(out.mean()) < 0.02 and abs(out.var() - 1) < 0.03
    # What is dropped becomes a (s - p s) with the least value s = -1.7581 of a SELU, moved as all others are.
    s, p = -1.0507009873554805 * 1.6732632423543772, 0.3
    floor = (s - p * s) / np.sqrt((1 - p) * (1 + p * s * s))
    assert abs((abs(out - floor) < 1e-5).mean() - p) < 0.02


def test_compiled_dropout_draws_the_same_numbers_as_plain():
    layer, x = nn.Dropout(0.5), wf.ones((50,))
    run = wf.compile(lambda v: layer(v))
    wf.manual_seed(1)
    plain = [layer(x).numpy() for _ in range(3)]
    wf.manual_seed(1)
    for p in plain:
        np.testing.assert_array_equal(run(x).numpy(), p)


def test_a_compiled_module_notices_its_mode():
    net = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5))
    run = wf.compile(lambda v: net(v))
    x = wf.tensor(spread(6, 3).astype(np.float32))
    run(x)
    mean = net[0].running_mean.numpy().copy()
    assert mean.any()
    net.eval()
    np.testing.assert_array_equal(run(x).numpy(), net(x).numpy())
    np.testing.assert_array_equal(net[0].running_mean.numpy(), mean)
    net.train()
    run(x)
    assert not np.array_equal(net[0].running_mean.numpy(), mean)
    assert run.traces <= 3


def test_a_compiled_module_answers_for_the_module():
    net = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5))
    run = wf.compile(net)
    assert repr(run) == "<compiled Sequential, 0 programs>"
    assert [p.shape for p in run.parameters()] == [(3, 4), (3,)]
    run.eval()
    assert not net.training
    x = wf.tensor(spread(2, 4).astype(np.float32))
    np.testing.assert_array_equal(run(x).numpy(), net(x).numpy())
    assert run.programs[0].arguments == ["x"]
    with pytest.raises(AttributeError):
        run.nothing


def test_statistics_do_not_keep_the_graph_of_past_batches():
    layer = nn.BatchNorm1d(3)
    x = wf.tensor(spread(6, 3).astype(np.float32), requires_grad=True)
    for _ in range(3):
        layer(x).sum().backward()
    assert not layer.running_mean.requires_grad and not layer.running_var.requires_grad
    assert layer.num_batches_tracked.item() == 3


def test_a_training_step_reduces_the_loss():
    wf.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
    x = spread(64, 2)
    y = wf.tensor((x[:, 0] * x[:, 1] > 0).astype(np.int64))
    x = wf.tensor(x.astype(np.float32))
    losses = []
    for _ in range(60):
        net.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        with wf.no_grad():
            for p in net.parameters():
                p -= 0.5 * p.grad
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_lazy_layers_are_born_outside_of_traces():
    net = nn.Sequential(nn.LazyConv2d(2, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4))
    x = wf.tensor(spread(2, 1, 5, 5).astype(np.float32))
    run = wf.compile(lambda v: net(v))
    first = run(x).numpy()
    assert type(net[0]) is nn.Conv2d and net[0].in_channels == 1 and net[3].weight.shape == (4, 18)
    np.testing.assert_array_equal(net(x).numpy(), first)
    np.testing.assert_array_equal(run(x).numpy(), first)
    assert all(np.isfinite(p.numpy()).all() for p in net.parameters())


@pytest.mark.parametrize("p", [1, 2, 3, float("inf")])
def test_normalize_by_any_norm(p):
    torch = pytest.importorskip("torch")
    x = spread(3, 4)
    given, ours = torch.tensor(x, requires_grad=True), wf.tensor(x, requires_grad=True)
    want, got = torch.nn.functional.normalize(given, p, 1), nn.functional.normalize(ours, p, 1)
    np.testing.assert_allclose(got.numpy(), want.detach().numpy(), rtol=1e-12)
    (want * want * given).sum().backward()
    (got * got * ours).sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), given.grad.numpy(), rtol=1e-9)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "uint32", "uint64", "int64"])
def test_labels_and_positions_of_every_integer_type(dtype):
    labels = np.array([0, 120, 3, 1])
    scores, table = wf.tensor(spread(4, 300)), wf.tensor(spread(300, 2))
    given = wf.tensor(labels, dtype=dtype)
    F = nn.functional
    for function in (
        lambda t: F.cross_entropy(scores, t, label_smoothing=0.1),
        lambda t: F.nll_loss(scores, t, ignore_index=3),
        lambda t: F.embedding(t, table, padding_idx=1),
        lambda t: F.one_hot(t, 300),
    ):
        np.testing.assert_array_equal(function(given).numpy(), function(wf.tensor(labels)).numpy())
    scores.requires_grad = True
    F.cross_entropy(scores, given).backward()
    assert (scores.grad.numpy()[np.arange(4), labels] < 0).all()
    with pytest.raises(IndexingError, match="class 120"):
        F.cross_entropy(scores[:, :100], given).item()


def test_a_bad_label_is_found_when_the_loss_is_looked_at():
    loss = nn.CrossEntropyLoss()(wf.zeros((2, 3)), wf.tensor([0, 3]))
    with pytest.raises(IndexingError, match="out of bounds"):
        loss.item()
    with pytest.raises(IndexError):
        nn.Embedding(4, 2)(wf.tensor([4])).numpy()


@pytest.mark.parametrize(
    ("layer", "x", "words"),
    [
        (nn.Linear(3, 2), spread(4, 5), r"Linear\(in_features=3, out_features=2, bias=True\).*5 features"),
        (nn.Conv2d(3, 2, 3), spread(2, 1, 5, 5), r"Conv2d\(3, 2.*takes 3 input channels"),
        (nn.BatchNorm2d(3), spread(2, 3), r"BatchNorm2d.*takes a tensor of 4 axes"),
        (nn.BatchNorm1d(3), spread(2, 4), "4 channels"),
        (nn.LSTM(3, 4), spread(2, 2, 5), r"LSTM\(3, 4\).*3 features"),
        (nn.LayerNorm(4), spread(2, 3), r"does not end in \(4,\)"),
        (nn.LSTMCell(3, 4), spread(2, 5), r"\(N, 3\)"),
    ],
)
def test_a_wrong_input_names_the_layer_and_what_it_wants(layer, x, words):
    with pytest.raises(ShapeError, match=words):
        layer(wf.tensor(x.astype(np.float32)))


def test_initial_states_are_checked():
    x = wf.tensor(np.ones((5, 2, 3), np.float32))
    with pytest.raises(ShapeError, match=r"\(2, 2, 4\)"):
        nn.GRU(3, 4, 2)(x, wf.zeros((1, 2, 4)))
    with pytest.raises(ArgumentError, match="pair"):
        nn.LSTM(3, 4)(x, wf.zeros((1, 2, 4)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(-1, 2),
        lambda: nn.Linear(2.5, 2),
        lambda: nn.Conv2d(3, 4, 0),
        lambda: nn.Conv2d(3, 4, (3, 3, 3)),
        lambda: nn.Conv2d(3, 4, 3, stride=2, padding="same"),
        lambda: nn.Conv2d(3, 4, 3, padding="full"),
        lambda: nn.Conv2d(3, 4, 3, groups=2),
        lambda: nn.MSELoss("average"),
        lambda: nn.RNN(3, 4, nonlinearity="gelu"),
        lambda: nn.Embedding(3, 4, padding_idx=5),
        lambda: nn.GroupNorm(2, 3),
        lambda: nn.Sequential(nn.ReLU),
        lambda: nn.functional.hardtanh(wf.ones(2), 2.0, 1.0),
        lambda: nn.functional.conv1d(wf.ones((1, 1, 3)), wf.ones((1, 1, 2)), groups="a"),
        lambda: nn.functional.group_norm(wf.ones((1, 2)), 0),
        lambda: nn.functional.softmax(wf.ones(2)),
    ],
)
def test_arguments_that_make_no_sense_are_refused(make):
    with pytest.raises(ArgumentError):
        make()


def test_a_checkpointed_module_has_the_same_gradients():
    net = nn.Sequential(nn.Linear(3, 8), nn.GELU(), nn.Linear(8, 2)).double()
    x = wf.tensor(spread(5, 3))
    (net(x) ** 2).sum().backward()
    want = [p.grad.numpy().copy() for p in net.parameters()]
    net.zero_grad()
    (wf.checkpoint(net)(x) ** 2).sum().backward()
    for p, w in zip(net.parameters(), want):
        np.testing.assert_allclose(p.grad.numpy(), w, rtol=1e-12)


def test_checkpointing_draws_the_same_dropout_twice():
    wf.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 50), nn.Dropout(0.5)).double()
    out = wf.checkpoint(net)(wf.tensor(np.ones((1, 3))))
    out.sum().backward()
    dropped = out.numpy()[0] == 0
    np.testing.assert_array_equal(net[0].bias.grad.numpy() == 0, dropped)


def test_a_cell_in_a_scan_is_the_layer():
    cell, layer = nn.LSTMCell(3, 4).double(), nn.LSTM(3, 4).double()
    layer.load_state_dict({f"{n}_l0": p for n, p in cell.named_parameters()})
    x = wf.tensor(spread(6, 2, 3))

    def step(state, element):
        h, c = cell(element, state)
        return (h, c), h

    zero = wf.zeros((2, 4), dtype=wf.float64)
    (h, c), ys = wf.scan(step, (zero, zero), x)
    out, (hn, cn) = layer(x)
    np.testing.assert_allclose(ys.numpy(), out.numpy(), rtol=1e-12)
    np.testing.assert_allclose(c.numpy(), cn[0].numpy(), rtol=1e-12)
    (ys.sum() + h.sum()).backward()
    (out.sum() + hn.sum()).backward()
    for name, p in cell.named_parameters():
        other = dict(layer.named_parameters())[f"{name}_l0"]
        np.testing.assert_allclose(p.grad.numpy(), other.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_dropout_under_vmap_says_how_it_draws():
    layer, x = nn.Dropout(0.5), wf.ones((6, 40))
    different = wf.vmap(layer, randomness="different")(x).numpy()
    assert len({tuple(row) for row in different}) > 1
    same = wf.vmap(layer, randomness="same")(x).numpy()
    assert (same == same[0]).all()
    with pytest.raises(ValueError, match="randomness"):
        wf.vmap(layer)(x)


def test_statistics_written_inside_vmap_are_refused():
    layer = nn.BatchNorm1d(3)
    with pytest.raises(TypeError, match="vmap"):
        wf.vmap(layer)(wf.ones((2, 4, 3)))
    assert layer.num_batches_tracked.item() == 0 and not layer.running_mean.numpy().any()


def test_forward_mode_through_a_network():
    net = nn.Sequential(
        nn.Conv1d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.LayerNorm(9), nn.Linear(9, 2)
    ).double()
    x, t = wf.tensor(spread(2, 2, 5)), wf.tensor(spread(2, 2, 5, seed=1))
    _, pushed = wf.jvp(net, (x,), (t,))
    step = 1e-6
    up, down = net(x + step * t), net(x - step * t)
    np.testing.assert_allclose(pushed.numpy(), (up.numpy() - down.numpy()) / (2 * step), rtol=1e-6, atol=1e-8)


def test_several_threads_may_use_one_model():
    from concurrent.futures import ThreadPoolExecutor

    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)).eval()
    xs = [wf.tensor(np.full((2, 1, 5, 5), i, np.float32)) for i in range(16)]
    net(xs[0])  # parameters stay pending: the first to look at a value draws them for all
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda x: net(x).numpy(), xs))
    for x, y in zip(xs, found):
        np.testing.assert_array_equal(net(x).numpy(), y)
