"""The pool of threads in memory, and the code of those who work in it: how units of a job are shared out.

A unit of work is claimed by advancing a ticket, which carries the generation of the job in its upper half. A worker
that comes late, or was put to sleep by the operating system between reading the job and claiming, fails to claim: so
the caller waits only for units that somebody is really working on, never for a thread that has not begun.
"""

from __future__ import annotations

from collections.abc import Callable

from ...kernel.target import Target
from . import instructions as ir
from .build import I8, I32, I64, KERNEL, PTR

# Fields of the pool, in 8-byte words. Those that different threads write are on cache lines of their own.
GENERATION = 0  #: of the current job; workers wait for it to change
TICKET = 8  #: generation << 32 | next unit
DONE = 16  #: units finished
FUNCTION, TABLE, UNITS = 24, 25, 26
GRAIN, SHARE = 27, 28  #: units claimed at a time, and an even share of one thread, beyond which no claim goes
SLEEPERS = 32  #: workers asleep on GENERATION
QUIT = 40
BUSY = 41  #: 1 while a program runs on the pool
#: How to sleep until woken and to give way; SYSCALL is 0 where threads cannot.
SYSCALL, FUTEX, YIELD = 48, 49, 50
NAP, NAP_TIME = 51, 52  #: there, a function that sleeps for a while, and for how long
THREADS = 56  #: how many there are, the caller included
WORDS = 64

_COUNTER = '!{!"cntvct_el0"}'  #: the register of AArch64 that counts time
_PAGE = 4096  #: bytes of the smallest pages of memory

LOW = I64(0xFFFFFFFF)  #: the half of a ticket or position that counts units
_NAP_TYPE = ir.FunctionType(ir.VoidType(), [I32])
_SYSCALL_TYPE = ir.FunctionType(I64, [I64, PTR, I64, I64, PTR, PTR, I64])

#: How many times a waiting thread looks again before it sleeps: some tens of microseconds.
SPINS = 4000
FUTEX_WAIT, FUTEX_WAKE = 128, 129


class PoolEmitter:
    """Writes functions that know the pool."""

    def __init__(self, module: ir.Module, target: Target) -> None:
        self.module = module
        self.x86 = target.name.startswith("x86")

    def _function(
        self, name: str, returns: ir.Type, args: list[ir.Type], internal: bool = False
    ) -> ir.Function:
        f = ir.Function(self.module, ir.FunctionType(returns, args), name)
        if internal:
            f.linkage = "internal"
        self.f = f
        self.b = ir.IRBuilder(f.append_basic_block("entry"))
        return f

    def _word(self, base: ir.Value, index: int | ir.Value) -> ir.Value:
        return self.b.gep(base, [I64(index) if isinstance(index, int) else index], source_etype=I64)

    def _get(self, pool: ir.Value, index: int) -> ir.Value:
        return self.b.load_atomic(self._word(pool, index), "acquire", 8, typ=I64)

    def _set(self, pool: ir.Value, index: int, value: ir.Value) -> None:
        self.b.store_atomic(value, self._word(pool, index), "release", 8)

    def _while(self, condition: Callable[[], ir.Value], body: Callable[[], None]) -> None:
        head, inside, after = (self.f.append_basic_block(n) for n in ("while", "body", "after"))
        self.b.branch(head)
        self.b.position_at_end(head)
        self.b.cbranch(condition(), inside, after)
        self.b.position_at_end(inside)
        body()
        if not self.b.block.is_terminated:
            self.b.branch(head)
        self.b.position_at_end(after)

    def _relax(self) -> None:
        """Tell the processor that this thread is only waiting."""
        name, args = ("llvm.x86.sse2.pause", []) if self.x86 else ("llvm.aarch64.hint", [I32(1)])
        found = self.module.globals.get(name)
        if found is None:
            found = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [a.type for a in args]), name)
        self.b.call(found, args)

    def _futex(self, pool: ir.Value, index: int, operation: int, value: ir.Value) -> None:
        """Sleep while a word has a value, or wake all that sleep on it. Where that cannot be, sleep for a while."""
        address = self.b.load(self._word(pool, SYSCALL), typ=I64)
        with self.b.if_else(self.b.icmp_signed("!=", address, I64(0))) as (can, cannot):
            with can:
                function = self.b.inttoptr(address, ir.PointerType(_SYSCALL_TYPE))
                number = self.b.load(self._word(pool, FUTEX), typ=I64)
                null = ir.Constant(PTR, None)
                at = self.b.gep(pool, [I64(index)], source_etype=I64)
                self.b.call(function, [number, at, I64(operation), value, null, null, I64(0)])
            with cannot:
                if operation == FUTEX_WAIT:
                    self._nap(pool, self.b.load(self._word(pool, NAP_TIME), typ=I64))

    def _nap(self, pool: ir.Value, time: ir.Value) -> None:
        address = self.b.load(self._word(pool, NAP), typ=I64)
        with self.b.if_then(self.b.icmp_signed("!=", address, I64(0))):
            function = self.b.inttoptr(address, ir.PointerType(_NAP_TYPE))
            self.b.call(function, [self.b.trunc(time, I32)])

    def _clock(self) -> ir.Value:
        """A counter that grows steadily. For AArch64 LLVM's own way to read one gives zero."""
        if self.x86:
            name, args = "llvm.readcyclecounter", []
        else:
            name, args = "llvm.read_volatile_register.i64", [ir.Value(ir.Type("metadata"), _COUNTER)]
        found = self.module.globals.get(name)
        if found is None:
            found = ir.Function(self.module, ir.FunctionType(I64, [a.type for a in args]), name)
        return self.b.call(found, args)

    def _is_over(self, start: ir.Value, slice_: ir.Value) -> ir.Value:
        """Whether there is an end to the time, and it has come."""
        passed = self.b.icmp_signed(">", self.b.sub(self._clock(), start), slice_)
        return self.b.and_(self.b.icmp_signed("!=", slice_, I64(0)), passed)

    def _call_kernel(
        self, function: ir.Value, table: ir.Value, first: ir.Value, last: ir.Value, scratch: ir.Value
    ) -> None:
        self.b.call(self.b.inttoptr(function, ir.PointerType(KERNEL)), [table, first, last, scratch])

    def _yield(self, pool: ir.Value) -> None:
        address = self.b.load(self._word(pool, SYSCALL), typ=I64)
        with self.b.if_else(self.b.icmp_signed("!=", address, I64(0))) as (can, cannot):
            with can:
                function = self.b.inttoptr(address, ir.PointerType(_SYSCALL_TYPE))
                number = self.b.load(self._word(pool, YIELD), typ=I64)
                null = ir.Constant(PTR, None)
                self.b.call(function, [number, null, I64(0), I64(0), null, null, I64(0)])
            with cannot:
                self._nap(pool, I64(0))

    # -- one job ------------------------------------------------------------------------------------------------

    def _claim(self) -> ir.Function:
        """claim(pool, generation, start, slice, scratch): take units of the current job and run them until none are
        left, or until `slice` ticks after `start` (0: without an end)."""
        f = self._function("claim", ir.VoidType(), [PTR, I64, I64, I64, PTR], internal=True)
        pool, generation, start, slice_, scratch = f.args
        head, loop, try_, got, end = (f.append_basic_block(n) for n in ("head", "loop", "try", "got", "end"))
        self.b.branch(loop)
        self.b.position_at_end(head)
        self.b.cbranch(self._is_over(start, slice_), end, loop)
        self.b.position_at_end(loop)
        # The job before the ticket: whoever sees anything of the next job sees that the ticket is no longer his.
        function, table, units, grain, share, ticket = (
            self._get(pool, field) for field in (FUNCTION, TABLE, UNITS, GRAIN, SHARE, TICKET)
        )
        mine = self.b.icmp_signed("==", self.b.lshr(ticket, I64(32)), self.b.and_(generation, LOW))
        first = self.b.and_(ticket, LOW)
        left = self.b.icmp_signed("<", first, units)
        self.b.cbranch(self.b.and_(mine, left), try_, end)
        self.b.position_at_end(try_)
        # No claim goes beyond an even share: so threads end together, however few units there are.
        rest = self.b.sub(share, self.b.urem(first, share))
        last = self.b.smin(self.b.add(first, self.b.smin(grain, rest)), units)
        next_ = self.b.add(ticket, self.b.sub(last, first))
        swapped = self.b.cmpxchg(self._word(pool, TICKET), ticket, next_, "acq_rel", "acquire")
        self.b.cbranch(self.b.extract_value(swapped, 1), got, loop)
        self.b.position_at_end(got)
        self._call_kernel(function, self.b.inttoptr(table, PTR), first, last, scratch)
        self.b.atomic_rmw("add", self._word(pool, DONE), self.b.sub(last, first), "acq_rel")
        self.b.branch(head)
        self.b.position_at_end(end)
        self.b.ret_void()
        return f

    def _work(self, claim: ir.Function) -> None:
        """work(pool, scratch): what a worker does until the pool is told to quit, with scratch memory of its own.
        Entered once, without Python's lock."""
        f = self._function("work", ir.VoidType(), [PTR, PTR])
        pool, scratch = f.args
        seen = self.b.alloca(I64)
        spins = self.b.alloca(I64)
        self.b.store(self._get(pool, GENERATION), seen)
        self.b.store(I64(0), spins)

        def once() -> None:
            before = self.b.load(seen, typ=I64)

            def waiting() -> ir.Value:
                same = self.b.icmp_signed("==", self._get(pool, GENERATION), before)
                return self.b.and_(same, self.b.icmp_signed("<", self.b.load(spins, typ=I64), I64(SPINS)))

            def spin() -> None:
                self._relax()
                self.b.store(self.b.add(self.b.load(spins, typ=I64), I64(1)), spins)

            self._while(waiting, spin)
            now = self._get(pool, GENERATION)
            with self.b.if_else(self.b.icmp_signed("==", now, before)) as (same, changed):
                with same:
                    self.b.atomic_rmw("add", self._word(pool, SLEEPERS), I64(1), "seq_cst")
                    self._futex(pool, GENERATION, FUTEX_WAIT, self.b.and_(before, I64(0xFFFFFFFF)))
                    self.b.atomic_rmw("sub", self._word(pool, SLEEPERS), I64(1), "seq_cst")
                with changed:
                    self.b.store(now, seen)
                    self.b.store(I64(0), spins)  # a thread that sleeps in vain does not begin to spin again
                    self.b.call(claim, [pool, now, I64(0), I64(0), scratch])

        self._while(lambda: self.b.icmp_signed("==", self._get(pool, QUIT), I64(0)), once)
        self.b.ret_void()

    def _stop(self) -> None:
        """stop(pool): let the workers leave, those that sleep too, unless a program is running on the pool."""
        f = self._function("stop", ir.VoidType(), [PTR])
        (pool,) = f.args
        free = self.b.cmpxchg(self._word(pool, BUSY), I64(0), I64(1), "acq_rel", "acquire")
        with self.b.if_then(self.b.extract_value(free, 1)):  # and stays busy: nobody runs on it any more
            self._set(pool, QUIT, I64(1))
            # A worker that has seen QUIT unset and is about to sleep finds another generation and looks again.
            self.b.atomic_rmw("add", self._word(pool, GENERATION), I64(1), "seq_cst")
            self._futex(pool, GENERATION, FUTEX_WAKE, I64(0x7FFFFFFF))
        self.b.ret_void()

    def _touch(self) -> None:
        """touch(memory, bytes): have the system hand out the pages. What they hold stays, whoever writes to them
        meanwhile: a zero is exchanged for a zero."""
        f = self._function("touch", ir.VoidType(), [PTR, I64])
        memory, size = f.args
        with self.b.loop(I64(0), size, _PAGE) as at:
            word = self.b.gep(memory, [at], source_etype=I8)
            self.b.cmpxchg(word, I64(0), I64(0), "monotonic", "monotonic")
        self.b.ret_void()
