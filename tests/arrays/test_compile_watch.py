"""What compiled functions read beside their arguments: a change of it is noticed, or refused while tracing."""

from __future__ import annotations

import functools
import gc
import sys
import types
import warnings
import weakref

import numpy as np
import pytest

import weft as wf
from weft import nn, optim
from weft.arrays import reach
from weft.base.errors import StateError, TraceError
from weft.base.state import state

X = [1.0, 2.0]


def tensor(values=X):
    return wf.tensor(values)


def world(source):
    """A namespace made by running `source`, as a module is."""
    space = {"__name__": "world", "wf": wf, "nn": nn, "np": np, "functools": functools}
    exec(source, space)
    return space


class Plain:
    pass


class Slotted:
    __slots__ = ("w",)


SOURCES = {
    "a global": ("w = wf.tensor([2.0])\ndef f(x): return x * w", "w = wf.tensor([3.0])"),
    "a global of a helper": (
        "w = wf.tensor([2.0])\ndef helper(x): return x * w\ndef f(x): return helper(x)",
        "w = wf.tensor([3.0])",
    ),
    "a helper": (
        "def helper(x): return x * 2\ndef f(x): return helper(x)",
        "def helper(x): return x * 3",
    ),
    "an entry of a dict": (
        "p = {'w': wf.tensor([2.0])}\ndef f(x): return x * p['w']",
        "p['w'] = wf.tensor([3.0])",
    ),
    "a dict": ("p = {'w': wf.tensor([2.0])}\ndef f(x): return x * p['w']", "p = {'w': wf.tensor([3.0])}"),
    "a nested entry": (
        "p = [{'w': (wf.tensor([2.0]),)}]\ndef f(x): return x * p[0]['w'][0]",
        "p[0]['w'] = (wf.tensor([3.0]),)",
    ),
    "a longer list": (
        "p = [wf.tensor([2.0])]\ndef f(x):\n  for w in p: x = x * w\n  return x",
        "p.append(wf.tensor([1.5]))",
    ),
    "an attribute": (
        "class C: pass\nc = C(); c.w = wf.tensor([2.0])\ndef f(x): return x * c.w",
        "c.w = wf.tensor([3.0])",
    ),
    "an object": (
        "class C:\n  def __init__(self, w): self.w = wf.tensor([w])\nc = C(2.0)\ndef f(x): return x * c.w",
        "c = C(3.0)",
    ),
    "a slot": (
        "class C: __slots__ = ('w',)\nc = C(); c.w = wf.tensor([2.0])\ndef f(x): return x * c.w",
        "c.w = wf.tensor([3.0])",
    ),
    "an attribute read in a method": (
        "class C:\n  def __init__(self): self.w = wf.tensor([2.0])\n  def __call__(self, x): return x * self.w\n"
        "c = C()\ndef f(x): return c(x)",
        "c.w = wf.tensor([3.0])",
    ),
    "an attribute read in a property": (
        "class C:\n  def __init__(self): self._w = wf.tensor([2.0])\n  w = property(lambda self: self._w)\n"
        "c = C()\ndef f(x): return x * c.w",
        "c._w = wf.tensor([3.0])",
    ),
    "an attribute of a class": (
        "class C: w = 2.0\ndef f(x): return x * C.w",
        "C.w = 3.0",
    ),
    "an attribute by name": (
        "class C: pass\nc = C(); c.w = wf.tensor([2.0])\ndef f(x): return x * getattr(c, 'w')",
        "c.w = wf.tensor([3.0])",
    ),
    "a float": ("rate = 2.0\ndef f(x): return x * rate", "rate = 3.0"),
    "a flag": ("flag = True\ndef f(x): return x * 2 if flag else x * 3", "flag = False"),
    "a string": ("kind = 'a'\ndef f(x): return x * 2 if kind == 'a' else x * 3", "kind = 'b'"),
    "None": ("bias = None\ndef f(x): return x * 2 if bias is None else x * bias", "bias = 3.0"),
    "one and True": (
        "k = True\ndef f(x): return x * (2 if k is True else 3)",
        "k = 1",
    ),
    "a number in an object": (
        "import types\nc = types.SimpleNamespace(lr=2.0)\ndef f(x): return x * c.lr",
        "c.lr = 3.0",
    ),
    "a number in a list": ("p = [2.0]\ndef f(x): return x * p[0]", "p[0] = 3.0"),
    "a default": (
        "def f(x, p=[2.0]): return x * p[0]",
        "f.__defaults__[0][0] = 3.0",
    ),
    "a NumPy array": ("k = np.float32([2])\ndef f(x): return x * k", "k = np.float32([3])"),
    "a NumPy array's contents": ("k = np.float32([2])\ndef f(x): return x * k", "k[0] = 3"),
    "a partial function": (
        "def g(x, p): return x * p[0]\nf = functools.partial(g, p=[2.0])",
        "f.keywords['p'][0] = 3.0",
    ),
    "a function inside grad": (
        "k = 1.0\ng = wf.grad(lambda x: (x * x * k).sum())\ndef f(x): return g(x)",
        "k = 1.5",
    ),
    "a compiled function inside": (
        "k = 2.0\ng = wf.compile(lambda x: x * k)\ndef f(x): return g(x)",
        "k = 3.0",
    ),
    "an attribute by a computed name": (
        "class C: pass\nc = C(); c.w0 = wf.tensor([2.0])\ndef f(x): return x * getattr(c, f'w{0}')",
        "c.w0 = wf.tensor([3.0])",
    ),
    "an attribute through vars": (
        "class C: pass\nc = C(); c.w = wf.tensor([2.0])\ndef f(x): return x * vars(c)['w']",
        "c.w = wf.tensor([3.0])",
    ),
    "an attribute of a function": (
        "def g(x): return x * g.k\ng.k = 2.0\ndef f(x): return g(x)",
        "g.k = 3.0",
    ),
    "a deque": (
        "from collections import deque\nd = deque([wf.tensor([2.0])])\ndef f(x): return x * d[0]",
        "d[0] = wf.tensor([3.0])",
    ),
    "a set": ("s = {2.0}\ndef f(x): return x * sum(s)", "s.add(1.0)"),
    "a module imported inside": (
        "import sys, types\nm = sys.modules['imported_inside'] = types.ModuleType('imported_inside'); m.k = 2.0\n"
        "def f(x):\n  from imported_inside import k\n  return x * k",
        "m.k = 3.0",
    ),
    "what a hook reads": (
        "k = 2.0\nm = nn.Identity()\nm.register_forward_hook(lambda m, a, out: out * k)\ndef f(x): return m(x)",
        "k = 3.0",
    ),
    "a model": (
        "model = nn.Linear(2, 2)\ndef f(x): return model(x)",
        "old = model; model = nn.Linear(2, 2)",
    ),
    "a parameter of a model that is not called": (
        "model = nn.Linear(2, 2)\ndef f(x): return x @ model.weight",
        "old = model.weight; model.weight = nn.Parameter(wf.ones((2, 2)))",
    ),
    "a list in a model": (
        "class M(nn.Module):\n  def __init__(self):\n    super().__init__()\n    self.s = [2.0]\n"
        "  def forward(self, x): return x * self.s[0]\nm = M()\ndef f(x): return m(x)",
        "m.s[0] = 3.0",
    ),
    "a global that a model reads": (
        "k = 2.0\nclass M(nn.Module):\n  def forward(self, x): return x * k\nm = M()\ndef f(x): return m(x)",
        "k = 3.0",
    ),
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("keep", [False, True])
def test_a_change_is_noticed_whether_or_not_the_old_thing_lives_on(name, keep):
    source, change = SOURCES[name]
    space = world(source)
    held = [o for o in gc.get_objects() if issubclass(type(o), (wf.Tensor, nn.Module))] if keep else []
    f = wf.compile(space["f"])
    first = f(tensor()).numpy()
    assert np.array_equal(f(tensor()).numpy(), first) and f.traces == 1
    exec(change, space)
    second = f(tensor()).numpy()
    assert np.array_equal(second, space["f"](tensor()).numpy())
    assert not np.array_equal(first, second) and f.traces == 2
    f(tensor())
    assert f.traces == 2
    del held


def test_closure_variables():
    w, rate = tensor([2.0]), 2.0

    @wf.compile
    def f(x):
        return x * w * rate

    assert f(tensor()).tolist() == [4.0, 8.0]
    old, w = w, tensor([3.0])
    assert f(tensor()).tolist() == [6.0, 12.0] and f.traces == 2
    rate = 1.0
    assert f(tensor()).tolist() == [3.0, 6.0] and f.traces == 3
    w = old
    rate = 2.0
    assert f(tensor()).tolist() == [4.0, 8.0] and f.traces == 3  # the first program is good again


def test_attributes_of_the_object_that_a_method_belongs_to():
    class Scale:
        def __init__(self, k):
            self.k = tensor([k])

        @wf.compile
        def __call__(self, x):
            return x * self.k

        def half(self, x):
            return x * self.k / 2

    s = Scale(2.0)
    half = wf.compile(s.half)
    assert s(tensor([1.0])).item() == 2.0 and half(tensor([1.0])).item() == 1.0
    s.k = tensor([3.0])
    assert s(tensor([1.0])).item() == 3.0 and half(tensor([1.0])).item() == 1.5


def test_a_tensor_that_is_found_in_no_way_we_know_is_followed_while_it_lives():
    class Secret:
        def __iter__(self):
            return iter(self.__dict__.values())

    secret = Secret()
    secret.w = tensor([2.0])
    f = wf.compile(lambda x: functools.reduce(lambda a, b: a * b, secret, x))
    assert f(tensor()).tolist() == [2.0, 4.0]
    secret.w = tensor([3.0])  # nobody holds the first one now
    assert f(tensor()).tolist() == [3.0, 6.0]


def test_nothing_is_kept_alive():
    model = nn.Linear(2, 2)
    extra = {"w": tensor()}
    f = wf.compile(lambda x: model(x) * extra["w"])
    f(tensor())
    gone = [weakref.ref(o) for o in (model, model.weight, model.weight._cell, extra["w"])]
    model, extra = nn.Linear(2, 2), {"w": tensor()}
    gc.collect()
    assert [r() for r in gone] == [None] * 4
    f(tensor())
    assert len(f.programs) == 1


def test_a_program_that_somebody_keeps_keeps_what_it_captured():
    w = tensor([2.0])
    program = wf.compile(lambda x: x * w).trace(tensor())
    w = None
    gc.collect()
    assert program(tensor()).tolist() == [2.0, 4.0]


def test_an_equal_number_is_no_change():
    scale, text, data = 1.5, "relu", [1.0, 2.0]
    f = wf.compile(lambda x: x * scale * len(data) if text == "relu" else x)
    f(tensor())
    scale, text, data = float("1.5"), "".join(["re", "lu"]), [1.0, 2.0]
    f(tensor())
    assert f.traces == 1


class TestWhatTheFunctionChangesItself:
    @pytest.mark.parametrize(
        "source",
        [
            "w = wf.tensor([2.0])\ndef f(x):\n  global w\n  w = w - x.sum()\n  return x * w",
            "p = {'w': wf.tensor([2.0])}\ndef f(x):\n  p['w'] = p['w'] - x.sum()\n  return x * p['w']",
            "p = {'w': wf.tensor([2.0])}\ndef f(x):\n  global p\n  p = {k: v * x.sum() for k, v in p.items()}\n"
            "  return x",
            "class C: pass\nc = C(); c.w = wf.tensor([2.0])\ndef f(x):\n  c.w = c.w - x.sum()\n  return c.w",
            "a, b = wf.tensor([2.0]), wf.tensor([3.0])\ndef f(x):\n  global a, b\n  a, b = b, a\n  return x * a",
        ],
    )
    def test_a_tensor_that_it_reads_and_exchanges(self, source):
        space = world(source)
        before = {k: v for k, v in space.items() if k in "wabpc"}
        f = wf.compile(space["f"])
        with pytest.raises(TraceError, match="would happen once"):
            f(tensor())
        assert all(space[k] is v or k == "p" for k, v in before.items())
        tensors = [v for v in space.values() if isinstance(v, wf.Tensor)]
        tensors += [space["p"]["w"]] if "p" in space else [space["c"].w] if "c" in space else []
        assert [t.item() for t in tensors] in ([2.0], [2.0, 3.0])
        assert not state.traces

    def test_what_is_only_kept_to_be_looked_at(self):
        class C:
            last, seen = None, []

            def show(self):
                return self.last

        c = C()
        c.last = None

        @wf.compile
        def f(x):
            c.last = x * 2
            c.seen.append(x)
            return x if c.show() is None else x + 1

        for _ in range(4):
            f(tensor())
        assert f.traces <= 2 and len(c.seen) == f.traces

    def test_a_count_that_is_not_read_is_no_assumption(self):
        calls = 0
        c = Plain()
        c.calls = 0

        @wf.compile
        def f(x):
            nonlocal calls
            calls += 1
            c.calls += 1
            return x * 2

        for _ in range(5):
            assert f(tensor()).tolist() == [2.0, 4.0]
        assert f.traces == 1

    def test_a_count_that_means_something_late(self):
        def run(transform):
            t = 0

            @transform
            def f(x):
                nonlocal t
                t += 1
                return x * 10 if t > 3 else x

            return [f(tensor([1.0])).item() for _ in range(6)]

        assert run(wf.compile) == run(lambda f: f) == [1.0, 1.0, 1.0, 10.0, 10.0, 10.0]

    def test_counts_in_dicts_and_modules(self):
        class Decaying(nn.Module):
            def __init__(self):
                super().__init__()
                self.t, self.seen, self.table = 0, 0, {"n": 0}

            def forward(self, x):
                self.t += 1
                self.seen += 1
                self.table["n"] += 1
                return x * 0.5**self.t + self.table["n"]

        def run(transform):
            f = transform(Decaying())
            return [f(tensor([1.0])).item() for _ in range(4)]

        assert run(wf.compile) == run(lambda f: f)

    def test_a_count_that_means_something_is_right_in_every_call(self):
        def run(transform):
            t = 0

            @transform
            def f(x):
                nonlocal t
                t += 1
                return x * t

            return [f(tensor([1.0])).item() for _ in range(5)], t

        assert run(wf.compile) == run(lambda f: f) == ([1.0, 2.0, 3.0, 4.0, 5.0], 5)

    def test_and_a_flag(self):
        first = True
        table = None

        @wf.compile
        def f(x):
            nonlocal first, table
            if first:
                first, table = False, wf.tensor([10.0])
                return x
            return x * table

        assert [f(tensor([1.0])).item() for _ in range(4)] == [1.0, 10.0, 10.0, 10.0]

    def test_and_a_flag_that_goes_to_and_fro(self):
        on = True

        @wf.compile
        def f(x):
            nonlocal on
            on = not on
            return x if on else -x

        assert [f(tensor([1.0])).item() for _ in range(5)] == [-1.0, 1.0, -1.0, 1.0, -1.0]

    def test_the_warning_names_what_changes(self):
        t = 0
        rate = 1.0

        def count(x):
            nonlocal t
            t += 1
            return x * t

        for function in (count, lambda x: x * rate):
            f = wf.compile(function, max_programs=3)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                for i in range(6):
                    rate = 1.0 + i
                    f(tensor())
            (message,) = [str(w.message) for w in caught]
            assert ("reads and changes t," in message) or "rate, which it reads, was 3.0" in message

    def test_a_tensor_made_on_first_use_is_state_from_then_on(self):
        c = types.SimpleNamespace(w=None)

        @wf.compile
        def f(x):
            if c.w is None:
                c.w = wf.tensor([1.0])
            return x * c.w

        assert [f(tensor([1.0])).item() for _ in range(3)] == [1.0] * 3 and f.traces == 2
        c.w += 1
        assert f(tensor([1.0])).item() == 2.0 and f.traces == 2

    def test_but_not_if_it_is_changed_at_once(self):
        c = types.SimpleNamespace(w=None)

        @wf.compile
        def f(x):
            if c.w is None:
                c.w = wf.tensor([0.0])
            c.w += 1
            return x * c.w

        f(tensor([1.0]))
        with pytest.raises(TraceError, match="before the first call"):
            f(tensor([1.0]))


class TestArgumentsThatAreAlsoCaptured:
    def test_one_that_is_changed(self):
        w = tensor()

        @wf.compile
        def f(x):
            w.__iadd__(1.0)
            return x + w

        f(tensor())
        before = w.tolist()
        with pytest.raises(TraceError, match=r"argument x of f.*also reads or changes from outside"):
            f(w)
        assert w.tolist() == before
        assert f(w.detach()).tolist() == [2 * before[0] + 1, 2 * before[1] + 1]

    def test_one_that_is_only_read(self):
        w = tensor()
        f = wf.compile(lambda x: x + w)
        assert f(w).tolist() == [2.0, 4.0]

    def test_a_gradient(self):
        w = wf.tensor(X, requires_grad=True)

        @wf.compile
        def f(g):
            (w * w).sum().backward()
            return g * 1.0

        w.grad = tensor()
        f(tensor())
        with pytest.raises(TraceError, match="argument g"):
            f(w.grad)


def test_a_trainer_that_is_given_another_model():
    first, second = nn.Linear(2, 1), nn.Linear(2, 1)
    trainer = wf.Trainer(first, loss=nn.MSELoss(), optimizer="sgd")
    x, y = np.ones((4, 2), np.float32), np.ones((4, 1), np.float32)
    a = trainer.evaluate((x, y))["loss"]
    trainer.model, trainer.optimizer = second, optim.SGD(second.parameters(), lr=0.1)
    b = trainer.evaluate((x, y))["loss"]
    assert a != b
    assert b == wf.Trainer(second, loss=nn.MSELoss(), optimizer="sgd").evaluate((x, y))["loss"]


def test_a_program_whose_state_is_gone_says_so():
    def make():
        w = tensor([2.0])
        f = wf.compile(lambda x: x * w)
        f(tensor())
        return f.programs[0]

    program = make()
    gc.collect()
    with pytest.raises(StateError, match="nobody holds it"):
        program(tensor())


@pytest.mark.parametrize("uses_weft", [False, True])
def test_code_of_installed_packages(uses_weft, tmp_path, monkeypatch):
    """It is looked into where the package has to do with Weft. What the function itself names of it always counts."""
    package = tmp_path / "site-packages" / "some_package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from .inner import factor, Thing\nthing = Thing()\n")
    (package / "inner.py").write_text(
        ("import weft as wf\n" if uses_weft else "")
        + "scale = 2.0\nclass Thing:\n    power = 3.0\ndef factor():\n    return scale\n"
    )
    monkeypatch.syspath_prepend(str(package.parent))
    for name in ("some_package", "some_package.inner"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    space = world(
        "import some_package\ndef f(x): return x * some_package.factor() * some_package.thing.power\n"
    )
    inner, f = sys.modules["some_package.inner"], wf.compile(space["f"])
    reach._may_use_weft.cache_clear()
    try:
        assert [f(tensor()).tolist() for _ in range(3)] == [[6.0, 12.0]] * 3 and f.traces == 1
        inner.scale = 4.0
        assert f(tensor()).tolist() == ([12.0, 24.0] if uses_weft else [6.0, 12.0])
        space["some_package"].thing.power = 5.0
        assert f(tensor()).tolist() == [20.0, 40.0]
    finally:
        reach._may_use_weft.cache_clear()


def test_the_program_is_the_users_whatever_started_it(monkeypatch):
    """`python -m package` runs a file among the installed packages, which may name nothing of Weft's."""
    started = types.ModuleType("__main__")
    started.__file__ = "/usr/lib/python3/site-packages/package/__main__.py"
    monkeypatch.setitem(sys.modules, "__main__", started)
    started.scale = 2.0
    exec("def f(x): return x * scale", started.__dict__)
    reach._may_use_weft.cache_clear()
    f = wf.compile(started.f)
    assert f(tensor()).tolist() == [2.0, 4.0]
    started.scale = 3.0
    assert f(tensor()).tolist() == [3.0, 6.0]
