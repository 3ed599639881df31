"""LLVM's intermediate representation, written as text while it is built.

The part of `llvmlite.ir` that code generation here needs, under the same names, several times as fast: every
instruction is formatted once, when it is made, types and constants are shared, and integer arithmetic on constants is
done at once. Values are named, so that instructions may go into an earlier block at any time.

What has no effect and does not change within a loop is put before it as it is made, and what a block has computed
already is not computed there again: the builder knows the loops, an optimiser would have to find them first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .module import (
    ArrayType,
    Block,
    BrainType,
    Constant,
    DoubleType,
    FloatType,
    Function,
    FunctionType,
    GlobalVariable,
    HalfType,
    IntType,
    Module,
    Phi,
    PointerType,
    StructType,
    Type,
    Undefined,
    Value,
    VectorType,
    VoidType,
    hole_name,
)

__all__ = [
    "ArrayType", "Block", "BrainType", "Constant", "DoubleType", "FloatType", "Function", "FunctionType",
    "GlobalVariable", "HalfType", "IRBuilder", "IntType", "Module", "PointerType", "Type", "Undefined", "Value",
    "VectorType", "VoidType", "hole_name",
]  # fmt: skip

_I1 = IntType(1)

_SIGNED = {"<": "slt", "<=": "sle", ">": "sgt", ">=": "sge", "==": "eq", "!=": "ne"}
_UNSIGNED = {"<": "ult", "<=": "ule", ">": "ugt", ">=": "uge", "==": "eq", "!=": "ne"}
_COMPARED = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}
#: Intrinsics without effects.
_PURE = tuple(
    [
        f"@llvm.{name}."
        for name in ("fma", "fmuladd", "fabs", "sqrt", "rint", "floor", "ceil", "trunc", "roundeven", "fptosi.sat",
                     "fptoui.sat", "vector.reduce")
    ]
)  # fmt: skip
_FOLDS = {"add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y}


def _binary(op: str) -> Callable[[IRBuilder, Value, Value], Value]:
    """A method that writes an instruction without effects, of two values of one type and with a result of that type."""

    def method(self: IRBuilder, x: Value, y: Value) -> Value:
        return self._pure(x.type, f"{op} {x.type.text} {x.ref}, {y.ref}", x, y)

    return method


def _division(op: str) -> Callable[[IRBuilder, Value, Value], Value]:
    """A method that divides integers. What might be a division by 0 that is never reached stays where it is."""

    def method(self: IRBuilder, x: Value, y: Value) -> Value:
        a, b = _same_number(x), _same_number(y)
        if a is not None and b is not None and a >= 0 and b > 0:
            return _all(x.type, a // b if op.endswith("div") else a % b)
        text = f"{op} {x.type.text} {x.ref}, {y.ref}"
        if isinstance(y, Constant) and type(y.constant) is int and y.constant > 0:
            return self._pure(x.type, text, x, y)
        return self._make(x.type, text)

    return method


def _conversion(op: str) -> Callable[[IRBuilder, Value, Type], Value]:
    """A method that writes a conversion to a type, if a value has another one."""

    def method(self: IRBuilder, x: Value, type_: Type) -> Value:
        if x.type == type_:
            return x
        return self._pure(type_, f"{op} {x.type.text} {x.ref} to {type_.text}", x)

    return method


class IRBuilder:
    """Writes instructions at the end of a block."""

    def __init__(self, block: Block) -> None:
        self.block = block

    @property
    def function(self) -> Function:
        return self.block.function

    def _make(self, type_: Any, text: str) -> Value:
        """An instruction here."""
        function = self.block.function
        function._count += 1
        ref = f"%v{function._count}"
        self.block.lines.append(f"{ref} = {text}")
        return Value(type_, ref, len(function.heads))

    def _pure(self, type_: Any, text: str, *operands: Value) -> Value:
        """An instruction without effects: before the outermost loop in which its operands do not change."""
        block, depth = self.block, 0
        for x in operands:
            if x.depth > depth:
                depth = x.depth
        function = block.function
        if depth < len(function.heads):
            block = function.heads[depth]
        else:
            depth = len(function.heads)
        found = block.known.get(text)
        if found is None:
            function._count += 1
            ref = f"%v{function._count}"
            block.lines.append(f"{ref} = {text}")
            found = block.known[text] = Value(type_, ref, depth)
        return found

    # -- position

    def position_at_end(self, block: Block) -> None:
        self.block = block

    def append_basic_block(self, name: str = "block") -> Block:
        return self.function.append_basic_block(name)

    @contextmanager
    def goto_entry_block(self) -> Iterator[None]:
        """Inside the `with`, instructions go before the end of the function's first block."""
        function, block = self.function, self.block
        heads, function.heads, self.block = function.heads, [], function.blocks[0]
        try:
            yield
        finally:
            function.heads, self.block = heads, block

    @contextmanager
    def loop(self, start: Value, stop: Value, step: int = 1, name: str = "i") -> Iterator[Phi]:
        """for i in range(start, stop, step): the body is what is built inside the `with`."""
        function = self.function
        head, body, done = [function.append_basic_block(f"{name}.{n}") for n in ("head", "body", "done")]
        ends = [x.constant if isinstance(x, Constant) else None for x in (start, stop)]
        if ends[0] is not None and ends[1] is not None and ends[0] < ends[1]:
            self.branch(head)
        else:
            self.cbranch(self.icmp_signed("<", start, stop), head, done)
        head.end = f"br label %{body.name}"
        function.heads.append(head)
        self.block = body
        i = self.phi(start.type)
        i.add_incoming(start, head)
        yield i
        after = self.add(i, Constant(start.type, step), flags=["nsw"])
        more = self.icmp_signed("<", after, stop)
        i.add_incoming(after, self.block)
        self.cbranch(more, body, done)
        function.heads.pop()
        self.block = done

    # -- control

    def _end(self, text: str) -> None:
        assert self.block.end is None, f"block {self.block.name} has ended"
        self.block.end = text

    def branch(self, target: Block) -> None:
        self._end(f"br label %{target.name}")

    def cbranch(self, condition: Value, then: Block, other: Block, likely: bool | None = None) -> None:
        weights = ""
        if likely is not None:
            first, second = (99, 1) if likely else (1, 99)
            weights = f', !prof !{{!"branch_weights", i32 {first}, i32 {second}}}'
        self._end(f"br i1 {condition.ref}, label %{then.name}, label %{other.name}{weights}")

    def ret_void(self) -> None:
        self._end("ret void")

    def ret(self, value: Value) -> None:
        self._end(f"ret {value}")

    def phi(self, type_: Type) -> Phi:
        phi = Phi(type_, self.function.fresh(), len(self.function.heads))
        self.block.lines.append(phi)
        return phi

    @contextmanager
    def if_then(self, condition: Value, likely: bool | None = None) -> Iterator[Block]:
        """What is built inside the `with` runs only if the condition holds."""
        then, after = self.append_basic_block("then"), self.append_basic_block("after")
        self.cbranch(condition, then, after, likely)
        self.block = then
        yield after
        if not self.block.is_terminated:
            self.branch(after)
        self.block = after

    @contextmanager
    def if_else(self, condition: Value) -> Iterator[tuple[Any, Any]]:
        """`with b.if_else(c) as (then, other): with then: ...; with other: ...`"""
        blocks = [self.append_basic_block(n) for n in ("then", "else", "after")]
        self.cbranch(condition, blocks[0], blocks[1])
        yield self._branch(blocks[0], blocks[2]), self._branch(blocks[1], blocks[2])
        self.block = blocks[2]

    @contextmanager
    def _branch(self, block: Block, after: Block) -> Iterator[None]:
        self.block = block
        yield
        if not self.block.is_terminated:
            self.branch(after)

    def call(self, function: Any, args: Sequence[Value]) -> Value:
        ftype = function.type.pointee
        text = (
            f"call {ftype.returns.text} {function.ref}({', '.join([f'{a.type.text} {a.ref}' for a in args])})"
        )
        if isinstance(ftype.returns, VoidType):
            self.block.lines.append(text)
            return Value(ftype.returns, "")
        if function.ref.startswith(_PURE):
            return self._pure(ftype.returns, text, *args)
        return self._make(ftype.returns, text)

    # -- arithmetic

    def _integer(self, op: str, x: Value, y: Value, flags: Sequence[str] = ()) -> Value:
        a, b = _same_number(x), _same_number(y)
        if a is not None and b is not None:
            kind: Any = x.type.element if isinstance(x.type, VectorType) else x.type
            return _all(x.type, _wrapped(_FOLDS[op](a, b), kind.width))
        neutral = int(op == "mul")
        if b == neutral:
            return x
        if a == neutral and op != "sub":
            return y
        with_flags = " ".join([op, *flags]) if flags else op
        return self._pure(x.type, f"{with_flags} {x.type.text} {x.ref}, {y.ref}", x, y)

    def add(self, x: Value, y: Value, flags: Sequence[str] = ()) -> Value:
        return self._integer("add", x, y, flags)

    def sub(self, x: Value, y: Value, flags: Sequence[str] = ()) -> Value:
        return self._integer("sub", x, y, flags)

    def mul(self, x: Value, y: Value, flags: Sequence[str] = ()) -> Value:
        return self._integer("mul", x, y, flags)

    udiv, sdiv, urem, srem = _division("udiv"), _division("sdiv"), _division("urem"), _division("srem")

    def hidden(self, x: Value) -> Value:
        """A 64-bit integer or a pointer of which LLVM does not know where it comes from."""
        if isinstance(x, Constant):
            return x
        return self._pure(x.type, f'call {x.type.text} asm "", "=r,0"({x.type.text} {x.ref})', x)

    and_, or_, xor = _binary("and"), _binary("or"), _binary("xor")
    shl, lshr, ashr = _binary("shl"), _binary("lshr"), _binary("ashr")
    fadd, fsub, fmul, fdiv = _binary("fadd"), _binary("fsub"), _binary("fmul"), _binary("fdiv")

    def fneg(self, x: Value) -> Value:
        return self._pure(x.type, f"fneg {x.type.text} {x.ref}", x)

    def neg(self, x: Value) -> Value:
        return self._pure(x.type, f"sub {_all(x.type, 0)}, {x.ref}", x)

    def not_(self, x: Value) -> Value:
        return self.xor(x, _all(x.type, -1))

    # -- comparisons and choice

    def _compare(self, text: str, x: Value, y: Value) -> Value:
        type_ = x.type
        out = VectorType(_I1, type_.count) if isinstance(type_, VectorType) else _I1
        return self._pure(out, f"{text} {type_.text} {x.ref}, {y.ref}", x, y)

    def icmp_signed(self, op: str, x: Value, y: Value) -> Value:
        return self._compare(f"icmp {_SIGNED[op]}", x, y)

    def icmp_unsigned(self, op: str, x: Value, y: Value) -> Value:
        return self._compare(f"icmp {_UNSIGNED[op]}", x, y)

    def fcmp_ordered(self, op: str, x: Value, y: Value) -> Value:
        return self._compare(f"fcmp {'ord' if op == 'ord' else 'o' + _COMPARED[op]}", x, y)

    def fcmp_unordered(self, op: str, x: Value, y: Value) -> Value:
        return self._compare(f"fcmp {'uno' if op == 'uno' else 'u' + _COMPARED[op]}", x, y)

    def select(self, condition: Value, x: Value, y: Value) -> Value:
        return self._pure(x.type, f"select {condition}, {x}, {y}", condition, x, y)

    def smin(self, x: Value, y: Value) -> Value:
        """The smaller of two signed integers."""
        return self.select(self.icmp_signed("<", x, y), x, y)

    def smax(self, x: Value, y: Value) -> Value:
        """The larger of two signed integers."""
        return self.select(self.icmp_signed(">", x, y), x, y)

    # -- conversions

    zext, sext, trunc = _conversion("zext"), _conversion("sext"), _conversion("trunc")
    fptosi, fptoui = _conversion("fptosi"), _conversion("fptoui")
    sitofp, uitofp = _conversion("sitofp"), _conversion("uitofp")
    fpext, fptrunc = _conversion("fpext"), _conversion("fptrunc")
    bitcast, ptrtoint, inttoptr = _conversion("bitcast"), _conversion("ptrtoint"), _conversion("inttoptr")

    # -- vectors and aggregates

    def extract_element(self, x: Value, at: Value) -> Value:
        return self._pure(x.type.element, f"extractelement {x}, {at}", x, at)

    def insert_element(self, x: Value, value: Value, at: Value) -> Value:
        return self._pure(x.type, f"insertelement {x}, {value}, {at}", x, value, at)

    def shuffle_vector(self, x: Value, y: Value, order: Value) -> Value:
        out = VectorType(x.type.element, order.type.count)
        return self._pure(out, f"shufflevector {x}, {y}, {order}", x, y)

    def extract_value(self, x: Value, at: int) -> Value:
        return self._make(x.type.parts[at], f"extractvalue {x}, {at}")

    # -- memory

    def alloca(self, type_: Type, count: int | None = None, align: int | None = None) -> Value:
        """A place on the stack for one value, or so many."""
        place = Value(PointerType(), self.function.fresh())
        many = f", i64 {count}" if count is not None else ""
        at = f", align {align}" if align else ""
        self.block.lines.append(f"{place.ref} = alloca {type_.text}{many}{at}")
        return place

    def gep(self, base: Value, indices: Sequence[Value], source_etype: Type) -> Value:
        if len(indices) == 1 and isinstance(indices[0], Constant) and indices[0].constant == 0:
            return Value(PointerType(), base.ref, base.depth)
        at = ", ".join([f"{i.type.text} {i.ref}" for i in indices])
        text = f"getelementptr {source_etype.text}, ptr {base.ref}, {at}"
        out: Type = PointerType()
        if isinstance(indices[-1].type, VectorType):
            out = VectorType(out, indices[-1].type.count)
        return self._pure(out, text, base, *indices)

    def load(self, pointer: Value, align: int | None = None, *, typ: Type) -> Value:
        at = f", align {align}" if align else ""
        return self._make(typ, f"load {typ.text}, ptr {pointer.ref}{at}")

    def load_constant(self, pointer: Value, type_: Type) -> Value:
        """What lies in memory that is never written."""
        return self._pure(type_, f"load {type_.text}, ptr {pointer.ref}", pointer)

    def name_load(self, name: str, pointer: Value, type_: Type) -> None:
        """A load whose value has a name of its own."""
        self.block.lines.append(f"{name} = load {type_.text}, ptr {pointer.ref}, align 8")

    def store(
        self, value: Value, pointer: Value, align: int | None = None, nontemporal: bool = False
    ) -> None:
        """Write a value; `nontemporal`: past the caches."""
        at = f", align {align}" if align else ""
        past = ", !nontemporal !{i32 1}" if nontemporal else ""
        self.block.lines.append(f"store {value.type.text} {value.ref}, ptr {pointer.ref}{at}{past}")

    def load_atomic(self, pointer: Value, ordering: str, align: int, *, typ: Type) -> Value:
        return self._make(typ, f"load atomic {typ.text}, ptr {pointer.ref} {ordering}, align {align}")

    def store_atomic(self, value: Value, pointer: Value, ordering: str, align: int) -> None:
        self.block.lines.append(f"store atomic {value}, ptr {pointer.ref} {ordering}, align {align}")

    def atomic_rmw(self, op: str, pointer: Value, value: Value, ordering: str) -> Value:
        return self._make(value.type, f"atomicrmw {op} ptr {pointer.ref}, {value} {ordering}")

    def cmpxchg(self, pointer: Value, before: Value, after: Value, ordering: str, failing: str) -> Value:
        out = StructType((before.type, _I1))
        return self._make(out, f"cmpxchg ptr {pointer.ref}, {before}, {after} {ordering} {failing}")

    def fence(self, ordering: str) -> None:
        self.block.lines.append(f"fence {ordering}")


def _all(type_: Any, value: int) -> Constant:
    return Constant(type_, [value] * type_.count if isinstance(type_, VectorType) else value)


def _same_number(x: Value) -> int | None:
    """The integer that a constant is, or has in every lane."""
    if not isinstance(x, Constant):
        return None
    value = x.constant
    if type(value) is list and value and value.count(value[0]) == len(value):
        value = value[0]
    return value if type(value) is int else None


def _wrapped(x: int, width: int) -> int:
    """x as a signed number of `width` bits."""
    x &= (1 << width) - 1
    return x - (1 << width) if x >> (width - 1) else x
