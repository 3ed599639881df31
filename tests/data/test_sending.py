"""What goes to a worker: code of a script that nobody can import does there what it does here."""

import os
import subprocess
import sys

import numpy as np
import pytest

from weft.base.errors import DataError
from weft.data.sending import culprit, pack, unpack

SCRIPT = '''
import abc, collections, dataclasses, enum, functools, os, typing, xml.dom
import xml.etree.ElementTree
import numpy as np
from weft.data import DataLoader, Dataset

SCALE = 3
T = typing.TypeVar("T")


def helper(x):
    return factorial(x) + SCALE


def factorial(n):
    return 1 if n <= 1 else n * factorial(n - 1)


class Color(enum.Enum):
    RED = 1
    BLUE = "b"

    def low(self):
        return self.name.lower()


class Flag(enum.IntFlag):
    A = 1
    B = 2


@dataclasses.dataclass(frozen=True)
class Record:
    x: int
    y: list = dataclasses.field(default_factory=list)


Point = collections.namedtuple("Point", "u v", defaults=(7,))


class Named(typing.NamedTuple):
    a: int
    b: str = "x"

    def both(self):
        return self.a, self.b


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...


class Square(Shape):
    def area(self):
        return super().__init__.__name__, 4


class Box(typing.Generic[T]):
    def __init__(self, item: T):
        self.item = item


@functools.lru_cache
def cached(n):
    return n + SCALE


def counting(f):
    @functools.wraps(f)
    def wrapped(*args):
        wrapped.calls += 1
        return f(*args)

    wrapped.calls = 0
    return wrapped


@counting
def counted(x, *, y=SCALE):
    """Doc."""
    return x + y


def closures():
    count = [0]

    def recursive(n):
        return n if n == 0 else recursive(n - 1)

    def increase():
        nonlocal total
        total += 1
        count[0] += 1

    def value():
        return count[0], total

    total = 0
    return recursive, increase, value


class Base(Dataset):
    kinds = {"color": Color}

    def __init__(self):
        self.a = 1
        self.functions = closures()
        self.last = lambda x: x * SCALE
        self.part = functools.partial(helper, 4)
        self.me = self

    @property
    def prop(self):
        return SCALE + self.a

    @staticmethod
    def static(x):
        return helper(x)

    @classmethod
    def name(cls):
        return cls.__name__

    @functools.cached_property
    def once(self):
        return self.a + 10


class Mine(Base):
    __slots__ = ("slot",)

    def __init__(self):
        super().__init__()
        self.slot = 5
        self.records = [Record(1), Point(1), Named(2), Color.BLUE, Flag.A | Flag.B, Box(Square()), Record, Color]

    def __len__(self):
        return 2

    def __getitem__(self, i):
        recursive, increase, value = self.functions
        increase()
        record, point, named, color, flag, box, kind, colors = self.records
        found = [
            len(self), self.a, self.slot, self.prop, self.static(3), self.name(), self.once, self.last(2),
            self.part(), recursive(3), value()[0] == value()[1] > 0, record, dataclasses.replace(record, x=9), kind(4),
            point, point.v, named.both(), color.low(), color is colors.BLUE is self.kinds["color"].BLUE, flag,
            box.item.area(), cached(1),
            counted(1), counted.__doc__, counted.calls > 0, isinstance(self, Base), isinstance(box.item, Shape),
            self.me is self, xml.etree.ElementTree.__name__, np.linalg.norm([3.0, 4.0]), os.sep,
            dataclasses.fields(kind)[0].default is dataclasses.MISSING, __name__, type(self).__module__,
        ]
        try:
            Shape()
        except TypeError as e:
            found.append(str(e))
        return repr(found), Point(i, record)


def together(samples):
    return [s[0] for s in samples], [s[1] for s in samples], Color.RED


here, there = ([b for b in DataLoader(Mine(), 2, num_workers=n, collate_fn=together)] for n in (0, 1))
assert here == there, (here, there)
assert there[0][2] is Color.RED and type(there[0][1][0]) is Point and type(there[0][1][1].v) is Record
print("equal", len(here[0][0][0]) > 300)
'''


@pytest.mark.parametrize("how", ["file", "-c"])
def test_a_script_does_in_workers_what_it_does_itself(tmp_path, how):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(path)] if how == "file" else [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)
    assert done.stdout == "equal True\n", done.stderr


def test_mapped_files_are_mapped_again(tmp_path):
    whole = np.memmap(tmp_path / "a", np.int32, "w+", shape=(9000, 10))
    whole[:] = np.arange(90_000).reshape(9000, 10)
    whole.flush()
    mapped = np.memmap(tmp_path / "a", np.int32, "r", offset=4000, shape=(8000, 10))
    for part in (mapped, mapped[100:200], mapped[7]):
        body, buffers = pack(part, "x")
        found = unpack(body, buffers)
        assert (
            len(body) < 1000 and not buffers and isinstance(found, np.memmap) and np.array_equal(found, part)
        )
    body, buffers = pack(mapped[::2], "x")
    assert np.array_equal(unpack(body, buffers), mapped[::2])


def test_arrays_are_sent_from_where_they_are():
    array = np.arange(1000.0)
    body, (buffer,) = pack({"a": array}, "x")
    assert len(body) < 300 and np.shares_memory(np.frombuffer(buffer), array)


def test_the_smallest_part_that_cannot_be_sent_is_found():
    import threading

    class Deep:
        def __init__(self):
            self.items = [1, {"k": (2, threading.Lock())}]

    where, why = culprit(Deep(), "it")
    assert where == "it.items[1]['k'][1]" and "lock" in why
    assert culprit(3, "it") == ("", "")
    with pytest.raises(DataError, match=r"it cannot be sent.*generator"):
        pack((i for i in "a"), "it")
