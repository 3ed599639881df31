"""Programs for AArch64, made by the compiled backend as on such a machine and run by an emulator.

`EmulatedBackend` is a backend like others: what is computed with `wf.config(backend="emulated")` runs there. A program
is an executable of its own, without a C library: the kernels, the driver, which runs them on one thread, its tables,
the inputs, and a beginning that has it run and writes the results to a file.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from unittest import mock
from weakref import WeakValueDictionary

import numpy as np

from elf import Code, executable
from weft.backends.cpu import backend, control, jit, library, program, regions
from weft.backends.cpu.backend import CpuBackend
from weft.backends.cpu.compiling import WHOLE
from weft.backends.cpu.control import emit_control
from weft.backends.cpu.driver import emit_driver
from weft.backends.cpu.instructions import Module
from weft.backends.cpu.program import CpuProgram
from weft.ir.graph import Graph
from weft.kernel.target import LEVELS
from weft.runtime.backend import NOTHING, Observer, register_backend
from weft.runtime.buffer import Buffer, Value, to_array

TARGET = LEVELS["aarch64"]
EMULATOR = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")

#: Where code and data begin.
_CODE, _DATA = 1 << 24, 1 << 30

#: What the executable begins with, followed by words: the arguments of `run`, where it is, what it returns at the end
#: of the program, the results and their size. Of system calls 64 writes them to the standard output, and 94 leaves.
_START = (
    0x10000213,  # adr x19, the words
    0xA9400660, 0xA9410E62, 0xA9421664, 0xA9431E66,  # ldp x0, x1, [x19]; and on to x7
    0xA9445674,  # ldp x20, x21, [x19, 64]
    0xD63F0280,  # blr x20
    0xEB15001F, 0x9A9F07F4,  # cmp x0, x21; cset x20, ne
    0xA9450A61,  # ldp x1, x2, [x19, 80]
    0xD2800020, 0xD2800808, 0xD4000001,  # mov x0, 1; mov x8, 64; svc 0
    0xAA1403E0, 0xD2800BC8, 0xD4000001,  # mov x0, x20; mov x8, 94; svc 0
)  # fmt: skip


@cache
def _runtime() -> list[bytes]:
    """The driver and the functions of loops and branches, compiled."""
    texts = []
    for emit in (emit_driver, emit_control):
        module = Module("weft")
        emit(module, TARGET)
        texts.append(str(module))
    return [jit.compiler(TARGET).object_code(t, WHOLE, True) for t in texts]


@contextmanager
def _elsewhere(code: Code) -> Iterator[None]:
    """Let programs be made for the other machine, and their kernels be put into `code`."""

    class Library:
        def __init__(self, objects: Sequence[bytes], names: Sequence[str], target: object) -> None:
            code.add(list(objects))

        def address(self, name: str) -> int:
            return code.functions[name]

    with (
        mock.patch.object(regions, "host_target", lambda: TARGET),
        mock.patch.object(backend, "host_target", lambda: TARGET),
        mock.patch.object(program, "host_target", lambda: TARGET),
        mock.patch.object(jit, "Library", Library),
        mock.patch.object(library, "_loaded", WeakValueDictionary()),
        mock.patch.object(control, "address", code.functions.__getitem__),
    ):
        yield


class _Data:
    """Memory from `_DATA` on: arrays with contents, then room."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self.size = 0

    def put(self, array: np.ndarray) -> int:
        """The address of a copy."""
        at = self.room(array.nbytes)
        self.bytes = self.bytes.ljust(at - _DATA, b"\0")
        self.bytes += array.tobytes()
        return at

    def room(self, size: int) -> int:
        """The address of so many bytes, which nobody else has."""
        at = self.size + -self.size % 64
        self.size = at + size
        return _DATA + at


class EmulatedProgram:
    """A program of the compiled backend for the other machine."""

    def __init__(self, graph: Graph, recurs: bool) -> None:
        self._code = Code(_CODE)
        self._code.add(_runtime())
        with _elsewhere(self._code):
            self.program: CpuProgram = CpuBackend().compile(graph, recurs)
        self.slice = 0  #: after how many ticks of the clock a run is left; 0: at the end
        segments = self.program._code_of.segments
        assert all(isinstance(s, tuple) for s in segments), "a step is left to Python"

    def run(self, inputs: Sequence[Value], observe: Observer | None = None) -> list[Buffer]:
        """The results, each time by a process of its own."""
        p = self.program
        arrays = [
            np.ascontiguousarray(to_array(v, np.dtype(n.dtype.numpy)))
            for v, n in zip(inputs, p.graph.inputs, strict=True)
        ]
        image, first, places = self._image(arrays)
        with tempfile.TemporaryDirectory() as folder:
            file, out = Path(folder) / "program", Path(folder) / "results"
            file.write_bytes(image)
            file.chmod(0o700)
            with out.open("wb") as f:
                done = subprocess.run(
                    [str(EMULATOR), str(file)], stdout=f, stderr=subprocess.PIPE, timeout=240
                )
            if done.returncode == 1:
                raise TimeoutError("the program's time was up")
            assert done.returncode == 0, (done.returncode, done.stderr)
            found = out.read_bytes()
        results = []
        for at, node in zip(places, p.graph.outputs, strict=True):
            dtype, count = np.dtype(node.dtype.numpy), int(node.size)
            results.append(np.frombuffer(found, np.uint8, count * dtype.itemsize, at - first).view(dtype))
        return [Buffer(r.reshape(n.shape)) for r, n in zip(results, p.graph.outputs, strict=True)]

    def _image(self, inputs: list[np.ndarray]) -> tuple[bytes, int, list[int]]:
        """(an executable, where its results begin, where each of them is)."""
        p, code, data = self.program, self.program._code_of, _Data()
        given = [data.put(a) for a in inputs]
        kept = [*p._constants.values(), *[u.values for u in p._uses.values() if u.values is not None]]
        moved = [(a.ctypes.data, a.nbytes, data.put(a)) for a in (code._described, *kept)]
        steps = data.put(code.words)
        words = np.zeros(code.tables + len(code.order), np.int64)
        words_at = data.put(words)
        contents = len(data.bytes)
        results = [data.room(int(n.size) * n.dtype.itemsize) for n in p.graph.outputs]
        end = data.room(0)
        arena, scratch = data.room(p.region.arena.size), data.room(p.scratch_bytes)

        def fixed(address: int) -> int:
            for begin, size, at in moved:
                if begin <= address < begin + max(size, 1):
                    return at + address - begin
            assert not address, "an address of nothing that is known"
            return 0

        words[: code.count] = code.start
        words[code.range["input"]], words[code.range["output"]] = given, results
        words[code.range["arena"]] += arena
        words[code.range["own"]] += words_at
        words[code.range["fixed"]] = [fixed(int(a)) for a in code.start[code.range["fixed"]]]
        words[code.tables :] = words[code.order]
        data.bytes[words_at - _DATA : contents] = words.tobytes()
        first = results[0] if results else end
        count = len(code.words)
        arguments = [0, steps, count, words_at, 0, self.slice, 0, scratch]
        arguments += [self._code.functions["run"], count << 32, first, end - first]
        start = np.array(_START, np.uint32).tobytes() + np.array(arguments, np.int64).tobytes()
        return executable(self._code, start, bytes(data.bytes), _DATA, data.size), first, results

    def standing(self, steady: Collection[int] = (), replaced: Mapping[int, int] = NOTHING) -> None:
        """None: every run is one of its own."""


class EmulatedBackend:
    """Compiles graphs for AArch64 and has them run by an emulator."""

    name = "emulated"

    def compile(self, graph: Graph, recurs: bool = False, steady: Collection[int] = ()) -> EmulatedProgram:
        return EmulatedProgram(graph, recurs)

    def at_once(self, graph: Graph) -> None:
        """Everything is planned."""

    def describe(self) -> str:
        return f"{TARGET.name}, by {EMULATOR}"


register_backend("emulated", EmulatedBackend)
