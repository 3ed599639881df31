"""Object code put into memory without LLVM: the same results as with its linker, and what is left to that."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import struct
import subprocess
import sys
from pathlib import Path
from weakref import WeakValueDictionary

import pytest

from compiled import run
from samples import quick_samples
from weft.backends.cpu import image, jit, library
from weft.backends.cpu.driver import NAMES, emit_driver
from weft.backends.cpu.llvm import llvm
from weft.backends.cpu.making import compile_functions
from weft.backends.cpu.processor import host_target

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="LLVM links what is for other systems"
)


def compiled(text: str) -> bytes:
    """The object code of a module."""
    module = llvm().parse_assembly(f'target triple = "{llvm().get_process_triple()}"\n{text}')
    return jit.compiler(host_target()).machine.emit_object(module)


ADD = "define i64 @add(i64 %x, i64 %y) { %z = add i64 %x, %y\n ret i64 %z }"
#: A constant, a table of jumps, a function that calls another.
PICK = """
define double @pick(i64 %i) {
  switch i64 %i, label %a [ i64 0, label %b i64 1, label %c i64 2, label %d i64 3, label %e i64 4, label %f ]
a: ret double 1.5
b: ret double 2.25
c: ret double 3.125
d: %x = call double @third()
   ret double %x
e: ret double 5.75
f: ret double 6.5
}
define internal double @third() noinline { ret double 4.0625 }
"""


def test_constants_jumps_and_calls():
    found = image.load([compiled(ADD), compiled(PICK)])
    assert found is not None and set(found.functions) == {"add", "pick"}
    number = ctypes.c_int64
    assert ctypes.CFUNCTYPE(number, number, number)(found.functions["add"])(40, 2) == 42
    pick = ctypes.CFUNCTYPE(ctypes.c_double, number)(found.functions["pick"])
    assert [pick(i) for i in range(6)] == [2.25, 3.125, 4.0625, 5.75, 6.5, 1.5]


@pytest.mark.parametrize(
    "text",
    [
        "declare double @cos(double)\ndefine double @f(double %x) { %y = call double @cos(double %x)\n ret double %y }",
        "@v = global i64 1\ndefine i64 @f() { %y = load i64, ptr @v\n ret i64 %y }",
        "@v = constant [2 x ptr] [ptr @f, ptr @g]\ndefine i64 @f() { ret i64 1 }\ndefine i64 @g() { ret i64 2 }",
        "@v = internal constant [4 x i64] [i64 1, i64 2, i64 3, i64 4], align 128\n"
        "define i64 @f(i64 %i) { %p = getelementptr i64, ptr @v, i64 %i\n %y = load i64, ptr %p\n ret i64 %y }",
    ],
    ids=["a function of a library's", "data", "absolute addresses", "a large alignment"],
)
def test_what_llvm_links(text):
    assert image.load([compiled(text)]) is None
    assert image.load([compiled(ADD), compiled(text)]) is None


def test_another_machine():
    code = bytearray(compiled(ADD))
    struct.pack_into("<H", code, 18, 183)  # AArch64
    assert image.load([bytes(code)]) is None
    assert image.load([b"\xcf\xfa\xed\xfe" + bytes(60)]) is None  # Mach-O


def test_memory_is_never_writable_and_executable():
    found = image.load([compiled(ADD)])
    assert found is not None
    at = found.functions["add"]
    rights = [r for start, end, r in _areas() if start <= at < end]
    assert rights == ["r-xp"]


def test_memory_is_given_back():
    code = compiled(ADD)
    image.load([code])
    gc.collect()
    before = len(_areas())
    kept = [image.load([code]) for _ in range(50)]
    del kept
    gc.collect()
    assert len(_areas()) <= before + 5


def _areas() -> list[tuple[int, int, str]]:
    """(start, end, rights) of this process's memory."""
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, rights = line.split()[:2]
        start, end = where.split("-")
        found.append((int(start, 16), int(end, 16), rights))
    return found


def test_the_runtime_needs_no_linker():
    found = image.load([compile_functions(emit_driver, host_target())])
    assert found is not None and set(NAMES) <= set(found.functions)


def test_llvm_links_to_the_same_results(monkeypatch):
    graphs = [c.values[1] for c in quick_samples() if not c.marks][::7]

    def results():
        monkeypatch.setattr(library, "_loaded", WeakValueDictionary())
        return [[a.tobytes() for a in run(g)] for g in graphs]

    ours = results()
    linked = []
    by_llvm = jit._linked
    monkeypatch.setattr(jit, "_linked", lambda *args: linked.append(1) or by_llvm(*args))
    monkeypatch.setattr(image, "load", lambda objects: None)
    assert results() == ours
    assert linked


PROGRAM = """
import sys
import numpy as np
import weft as wf

wf.random.seed(0)
model = wf.nn.Sequential(wf.nn.Linear(6, 8), wf.nn.ReLU(), wf.nn.Linear(8, 3))
optimizer = wf.optim.Adam(model.parameters(), lr=1e-2)

@wf.compile
def step(x, y):
    loss = wf.nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss

rng = np.random.default_rng(0)
x, y = wf.tensor(rng.normal(size=(5, 6)).astype(np.float32)), wf.tensor(rng.integers(0, 3, 5))
for _ in range(3):
    loss = step(x, y)
print(loss.item(), wf.sort(x).sum().item(), "llvmlite.binding" in sys.modules)
"""


def test_a_warm_process_needs_no_llvm(tmp_path):
    folder = tmp_path / "kernels"
    given = os.environ | {"WEFT_BACKEND": "cpu", "WEFT_CACHE_DIR": str(folder), "WEFT_CACHE": "1"}
    runs = [
        subprocess.run([sys.executable, "-c", PROGRAM], env=given, text=True, capture_output=True, check=True)
        for _ in range(2)
    ]
    first, second = [r.stdout.split() for r in runs]
    assert first[:-1] == second[:-1]
    assert (first[-1], second[-1]) == ("True", "False")
