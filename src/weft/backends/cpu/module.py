"""What a module of LLVM's intermediate representation is made of, as text: types, values, blocks and functions."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache
from typing import Any

from ...kernel.generic import Hole

# -- types ----------------------------------------------------------------------------------------------------


def hole_name(slot: int) -> str:
    """What a value that is known at run time is called in code."""
    return f"%hole{slot}"


class Type:
    """A type; equal types are written alike."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Type) and self.text == other.text)

    def __hash__(self) -> int:
        return hash(self.text)

    def __call__(self, value: Any) -> Constant:
        return Constant(self, value)

    def number(self, value: Any) -> str:
        """A constant of the type as text."""
        raise TypeError(f"no constants of type {self.text}")


class IntType(Type):
    def __init__(self, width: int) -> None:
        super().__init__(f"i{width}")
        self.width = width

    def __call__(self, value: Any) -> Any:
        """A constant; of 64 bits also a value that the function is called with, from its `Hole`."""
        if isinstance(value, Hole):
            assert self.width == 64
            return Value(self, hole_name(value.slot))
        return Constant(self, value)

    def number(self, value: Any) -> str:
        if self.width == 1:
            return "true" if value else "false"
        return str(int(value))


@cache
def _float_text(packed: bytes) -> str:
    return "0x" + packed.hex().upper()


class _Floating(Type):
    def number(self, value: Any) -> str:
        return _float_text(struct.pack(">d", float(value)))


class FloatType(_Floating):
    def __init__(self) -> None:
        super().__init__("float")

    def number(self, value: Any) -> str:
        try:
            value = struct.unpack(">f", struct.pack(">f", value))[0]
        except OverflowError:
            value = float("inf") if value > 0 else float("-inf")
        return super().number(value)


class DoubleType(_Floating):
    def __init__(self) -> None:
        super().__init__("double")


class HalfType(Type):
    def __init__(self) -> None:
        super().__init__("half")


class BrainType(Type):
    """bfloat16."""

    def __init__(self) -> None:
        super().__init__("bfloat")


class VoidType(Type):
    def __init__(self) -> None:
        super().__init__("void")


class PointerType(Type):
    """A pointer; `pointee` only says what is called through it."""

    def __init__(self, pointee: Type | None = None) -> None:
        super().__init__("ptr")
        self.pointee = pointee

    def number(self, value: Any) -> str:
        if value is not None:
            raise TypeError("the only constant pointer is null")
        return "null"


class _Sequence(Type):
    def __init__(self, text: str, element: Type, count: int) -> None:
        super().__init__(text)
        self.element = element
        self.count = count


class VectorType(_Sequence):
    def __init__(self, element: Type, count: int) -> None:
        super().__init__(f"<{count} x {element.text}>", element, count)

    def number(self, value: Any) -> str:
        items = [f"{self.element.text} {self.element.number(v)}" for v in value]
        if items.count(items[0]) == len(items):
            return f"splat ({items[0]})"
        return f"<{', '.join(items)}>"


class ArrayType(_Sequence):
    def __init__(self, element: Type, count: int) -> None:
        super().__init__(f"[{count} x {element.text}]", element, count)

    def number(self, value: Any) -> str:
        return "[" + ", ".join([f"{self.element.text} {self.element.number(v)}" for v in value]) + "]"


class FunctionType(Type):
    def __init__(self, returns: Type, args: Sequence[Type]) -> None:
        super().__init__(f"{returns.text} ({', '.join([a.text for a in args])})")
        self.returns = returns
        self.args = tuple(args)


class StructType(Type):
    def __init__(self, parts: tuple[Type, ...]) -> None:
        super().__init__("{" + ", ".join([p.text for p in parts]) + "}")
        self.parts = parts


# -- values ---------------------------------------------------------------------------------------------------


class Value:
    """Something an instruction can take: `ref` is how it is referred to, `depth` in how many loops it is made."""

    __slots__ = ("depth", "ref", "type")

    def __init__(self, type_: Any, ref: str, depth: int = 0) -> None:
        self.type = type_
        self.ref = ref
        self.depth = depth

    def __str__(self) -> str:
        return f"{self.type.text} {self.ref}"

    @property
    def lanes(self) -> int:
        """How many elements it has: 1 if it is no vector."""
        return self.type.count if isinstance(self.type, VectorType) else 1


class _Undefined:
    pass


Undefined = _Undefined()

_texts: dict[tuple[str, Any], str] = {}


class Constant(Value):
    """A number, a list of numbers for a vector or array, `Undefined`, or None for a null pointer."""

    __slots__ = ("constant",)

    def __init__(self, type_: Type, value: Any) -> None:
        self.type = type_
        self.constant = value
        self.depth = 0
        if value is Undefined:
            self.ref = "undef"
            return
        # A float's key is its bits: zeros of different sign are equal, and a NaN is not.
        key = tuple(value) if isinstance(value, list) else value
        first = key[0] if isinstance(key, tuple) and key else key
        if isinstance(first, float):
            floats = key if isinstance(key, tuple) else (key,)
            key = struct.pack(f"{len(floats)}d", *floats)
        found = _texts.get((type_.text, key))
        if found is None:
            found = type_.number(value)
            if len(_texts) < 20_000:
                _texts[type_.text, key] = found
        self.ref = found


class Phi(Value):
    """A value that depends on which block control came from."""

    __slots__ = ("incoming",)

    def __init__(self, type_: Type, ref: str, depth: int) -> None:
        super().__init__(type_, ref, depth)
        self.incoming: list[tuple[Value, Block]] = []

    def add_incoming(self, value: Value, block: Block) -> None:
        self.incoming.append((value, block))

    def written(self) -> str:
        ways = ", ".join([f"[{v.ref}, %{b.name}]" for v, b in self.incoming])
        return f"{self.ref} = phi {self.type.text} {ways}"


# -- modules --------------------------------------------------------------------------------------------------


class Block:
    """A basic block. `lines` are the instructions, `end` the one that leaves it."""

    def __init__(self, function: Function, name: str) -> None:
        self.function = function
        self.name = name
        self.lines: list[str | Phi] = []
        self.end: str | None = None
        self.known: dict[str, Value] = {}  #: what its instructions without effects have made, by their texts

    @property
    def is_terminated(self) -> bool:
        return self.end is not None

    def __str__(self) -> str:
        lines = [x if isinstance(x, str) else x.written() for x in self.lines]
        return "\n  ".join([f"{self.name}:", *lines, self.end or "unreachable"])


class Module:
    """Functions and global constants."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.globals: dict[str, Any] = {}

    @property
    def functions(self) -> list[Function]:
        return [g for g in self.globals.values() if isinstance(g, Function)]

    def __str__(self) -> str:
        head = f'source_filename = "{self.name}"'
        return "\n".join([head, *[g.written() for g in self.globals.values()], ""])


class GlobalVariable(Value):
    __slots__ = ("global_constant", "initializer", "linkage", "stored")

    def __init__(self, module: Module, type_: Type, name: str) -> None:
        super().__init__(PointerType(), f"@{name}")
        self.stored = type_
        self.initializer: Constant | None = None
        self.global_constant = False
        self.linkage = ""
        module.globals[name] = self

    def written(self) -> str:
        kind = "constant" if self.global_constant else "global"
        value = self.initializer.ref if self.initializer is not None else "zeroinitializer"
        return f"{self.ref} = {self.linkage} {kind} {self.stored.text} {value}"


class Function(Value):
    """A function; a declaration as long as it has no blocks."""

    __slots__ = ("_count", "args", "attributes", "blocks", "ftype", "heads", "linkage", "module", "name")

    def __init__(self, module: Module, ftype: FunctionType, name: str) -> None:
        super().__init__(PointerType(ftype), f"@{name}")
        self.module = module
        self.ftype = ftype
        self.name = name
        self.linkage = ""
        self.attributes: set[str] = set()
        self.args = tuple([Value(t, f"%arg{k}") for k, t in enumerate(ftype.args)])
        self.blocks: list[Block] = []
        self.heads: list[Block] = []  #: of the loops being built, outermost first, the block before each
        self._count = 0
        module.globals[name] = self

    @property
    def is_declaration(self) -> bool:
        return not self.blocks

    def fresh(self) -> str:
        """A name for a new value."""
        self._count += 1
        return f"%v{self._count}"

    def append_basic_block(self, name: str = "block") -> Block:
        block = Block(self, f"{name}.{len(self.blocks)}")
        self.blocks.append(block)
        return block

    def written(self) -> str:
        returns = self.ftype.returns.text
        if self.is_declaration:
            return f"declare {returns} {self.ref}({', '.join([a.text for a in self.ftype.args])})"
        linkage = f"{self.linkage} " if self.linkage else ""
        head = f"define {linkage}{returns} {self.ref}({', '.join([str(a) for a in self.args])})"
        return "\n".join(
            [" ".join([head, *sorted(self.attributes), "{"]), *[str(b) for b in self.blocks], "}"]
        )
