"""The code that runs a whole program: steps in order, the units of each shared out among threads.

One driver serves every program of a process. It knows nothing of Python and nothing by address: the program comes as
a table of steps, the pool as a block of memory, and the way to sleep as a function pointer in that block.

A call of `run` ends when the program does or when its time is up, and says how far it got: the caller goes on from
there, or stops (Ctrl-C). Time is looked at between units, so even a single large kernel can be left, and at jumps.
"""

from __future__ import annotations

from ...kernel.target import Target
from . import instructions as ir
from .build import I64, PTR
from .pool import (
    BUSY,
    DONE,
    FUNCTION,
    FUTEX_WAKE,
    GENERATION,
    GRAIN,
    LOW,
    SHARE,
    SLEEPERS,
    SPINS,
    TABLE,
    THREADS,
    TICKET,
    UNITS,
    PoolEmitter,
)

# A step of a program, in 8-byte words: function, offset of its buffer table, units, units claimed at a time
# (0: the step runs on one thread; -1: and may take so long that the clock is looked at after it; more than a thread's
# even share: each takes its share). Function 0 is a jump: the table holds a pointer to how many steps it goes ahead.
STEP_WORDS = 4

# The arguments of `run`: how many there are, those that are pointers, and the place of some.
RUN_WORDS, RUN_POINTERS, POSITION, SCRATCH = 8, (0, 1, 3, 6, 7), 4, 7

# Times of steps, in 8-byte words: room in the log, entries in it, when the current step began; then the total ticks
# and the calls of every step; then the log: step, begin, end.
ROOM, LOGGED, BEGAN, TIMES_WORDS = 0, 1, 2, 3

#: Ticks of the processor's clock in about a tenth of a second, for clocks from 1 to 5 GHz (x86) and 24 to 1000 MHz.
SLICE_X86, SLICE_ARM = 1 << 28, 1 << 23


#: The functions that others call.
NAMES = ("run", "enter", "work", "stop", "touch", "now")


def emit_driver(module: ir.Module, target: Target) -> None:
    """Add `run(pool, steps, count, tables, position, slice, times, scratch)`, `enter(words)`, `work(pool, scratch)`,
    `stop(pool)`, `touch(memory, bytes)` and `now()` to `module`."""
    _Emitter(module, target).emit()


class _Emitter(PoolEmitter):
    def emit(self) -> None:
        claim = self._claim()
        self._work(claim)
        self._stop()
        run = self._run(claim)
        self._enter(run)
        self._touch()
        self._function("now", I64, [])
        self.b.ret(self._clock())

    def _enter(self, run: ir.Function) -> None:
        """enter(words) -> position: `run` with the arguments that the words hold, one each in its order.

        To convert seven arguments takes Python longer than a small program runs.
        """
        f = self._function("enter", I64, [PTR])
        words = [self.b.load(self._word(f.args[0], k), typ=I64) for k in range(RUN_WORDS)]
        arguments = [self.b.inttoptr(w, PTR) if k in RUN_POINTERS else w for k, w in enumerate(words)]
        self.b.ret(self.b.call(run, arguments))

    def _run(self, claim: ir.Function) -> ir.Function:
        """run(pool, steps, count, tables, position, slice, times, scratch) -> position.

        Runs steps in order from `position` (step << 32 | unit) on, for about `slice` ticks (0: to the end), and says
        where it stopped: count << 32 at the end. The pool may be null, or busy: then everything runs on this thread.
        `times`, unless it is null, is where the steps' times go; see TIMES_WORDS. `scratch` is what kernels on this
        thread use; it may be null if none needs any.
        """
        f = self._function("run", I64, [PTR, PTR, I64, PTR, I64, I64, PTR, PTR])
        pool, steps, count, tables, position, slice_, times, scratch = f.args
        self.slice, self.start, self.scratch = slice_, self._clock(), scratch
        slot, self.unit, self.spins, self.over = (self.b.alloca(I64) for _ in range(4))
        self.b.store(self.b.lshr(position, I64(32)), slot)
        self.b.store(self.b.and_(position, LOW), self.unit)
        self.b.store(I64(0), self.over)
        alone = self._take(pool)

        def step() -> None:
            i = self.b.load(slot, typ=I64)
            at = self.b.mul(i, I64(STEP_WORDS))

            def word(k: int) -> ir.Value:
                return self.b.load(self._word(steps, self.b.add(at, I64(k))), typ=I64)

            function, offset, units, grain = (word(k) for k in range(STEP_WORDS))
            table = self.b.gep(tables, [offset], source_etype=I64)
            with self.b.if_else(self.b.icmp_signed("==", function, I64(0))) as (jump, work):
                with jump:
                    ahead = self.b.inttoptr(self.b.load(self._word(table, 0), typ=I64), PTR)
                    self.b.store(self.b.add(i, self.b.load(self._word(ahead, 0), typ=I64)), slot)
                    self._look_at_the_clock()
                with work:
                    self._note_begin(times)
                    self._work_on(claim, pool, alone, function, table, units, grain)
                    with self.b.if_then(self.b.icmp_signed("!=", grain, I64(0))):
                        self._look_at_the_clock()
                    done = self.b.icmp_signed(">=", self.b.load(self.unit, typ=I64), units)
                    with self.b.if_then(done):
                        self._note_end(times, i, count)
                        self.b.store(I64(0), self.unit)
                        self.b.store(self.b.add(i, I64(1)), slot)

        def going() -> ir.Value:
            more = self.b.icmp_signed("<", self.b.load(slot, typ=I64), count)
            return self.b.and_(more, self._in_time())

        self._while(going, step)
        with self.b.if_then(self.b.not_(alone)):
            self._set(pool, BUSY, I64(0))
        reached = self.b.shl(self.b.load(slot, typ=I64), I64(32))
        self.b.ret(self.b.or_(reached, self.b.load(self.unit, typ=I64)))
        return f

    def _work_on(self, claim: ir.Function, pool: ir.Value, alone: ir.Value, *job: ir.Value) -> None:
        """Run a step's units, or as many of them as there is time for."""
        function, table, units, grain = job
        whole = self.b.icmp_signed("<=", grain, I64(0))
        with self.b.if_else(whole) as (at_once, in_parts):
            with at_once:
                self._call_kernel(function, table, I64(0), units, self.scratch)
                self.b.store(units, self.unit)
            with in_parts, self.b.if_else(alone) as (here, shared):
                with here:
                    self._run_here(function, table, units, grain)
                with shared:
                    self._share(claim, pool, function, table, units, grain)

    def _wanted(self, times: ir.Value) -> ir.Value:
        return self.b.icmp_unsigned("!=", self.b.ptrtoint(times, I64), I64(0))

    def _note_begin(self, times: ir.Value) -> None:
        """Remember when a step begins, unless it began in an earlier slice of time."""
        begins = self.b.icmp_signed("==", self.b.load(self.unit, typ=I64), I64(0))
        with self.b.if_then(self.b.and_(self._wanted(times), begins)):
            self.b.store(self._clock(), self._word(times, BEGAN))

    def _note_end(self, times: ir.Value, step: ir.Value, count: ir.Value) -> None:
        """Add a step's time to its total, and to the log while there is room."""
        b = self.b
        with b.if_then(self._wanted(times)):
            end, began = self._clock(), b.load(self._word(times, BEGAN), typ=I64)
            at = b.add(I64(TIMES_WORDS), b.mul(step, I64(2)))
            for word, by in ((at, b.sub(end, began)), (b.add(at, I64(1)), I64(1))):
                b.store(b.add(b.load(self._word(times, word), typ=I64), by), self._word(times, word))
            logged = b.load(self._word(times, LOGGED), typ=I64)
            with b.if_then(b.icmp_signed("<", logged, b.load(self._word(times, ROOM), typ=I64))):
                b.store(b.add(logged, I64(1)), self._word(times, LOGGED))
                entry = b.add(I64(TIMES_WORDS), b.add(b.mul(count, I64(2)), b.mul(logged, I64(3))))
                for k, value in enumerate((step, began, end)):
                    b.store(value, self._word(times, b.add(entry, I64(k))))

    def _look_at_the_clock(self) -> None:
        self.b.store(self.b.zext(self._is_over(self.start, self.slice), I64), self.over)

    def _in_time(self) -> ir.Value:
        return self.b.icmp_signed("==", self.b.load(self.over, typ=I64), I64(0))

    def _take(self, pool: ir.Value) -> ir.Value:
        """Take the pool, if there is one and it is free; whether this thread is left alone."""
        alone = self.b.alloca(ir.IntType(1))
        self.b.store(ir.IntType(1)(1), alone)
        with self.b.if_then(self.b.icmp_unsigned("!=", self.b.ptrtoint(pool, I64), I64(0))):
            taken = self.b.cmpxchg(self._word(pool, BUSY), I64(0), I64(1), "acq_rel", "acquire")
            self.b.store(self.b.not_(self.b.extract_value(taken, 1)), alone)
        return self.b.load(alone, typ=ir.IntType(1))

    def _run_here(self, function: ir.Value, table: ir.Value, units: ir.Value, grain: ir.Value) -> None:
        """Run a job on this thread, some units at a time."""

        def going() -> ir.Value:
            more = self.b.icmp_signed("<", self.b.load(self.unit, typ=I64), units)
            return self.b.and_(more, self._in_time())

        def part() -> None:
            first = self.b.load(self.unit, typ=I64)
            last = self.b.smin(self.b.add(first, grain), units)
            self._call_kernel(function, table, first, last, self.scratch)
            self.b.store(last, self.unit)
            self._look_at_the_clock()

        self._while(going, part)

    def _share(
        self,
        claim: ir.Function,
        pool: ir.Value,
        function: ir.Value,
        table: ir.Value,
        units: ir.Value,
        grain: ir.Value,
    ) -> None:
        """Offer a job to the workers, take part in it, and wait for the units others are still working on.

        If time is up before all units are claimed, the rest is withdrawn and left for the next call."""
        b = self.b
        threads = b.load(self._word(pool, THREADS), typ=I64)
        share = b.udiv(b.sub(b.add(units, threads), I64(1)), threads)
        generation = b.add(self._get(pool, GENERATION), I64(1))
        stamp = b.shl(generation, I64(32))
        first = b.load(self.unit, typ=I64)
        # Invalidate the old ticket first: nobody may claim from it while the fields change.
        self._set(pool, TICKET, b.or_(stamp, LOW))
        for field, value in (
            (FUNCTION, function),
            (TABLE, b.ptrtoint(table, I64)),
            (UNITS, units),
            (GRAIN, grain),
            (SHARE, share),
        ):
            self._set(pool, field, value)
        self._set(pool, DONE, first)
        self._set(pool, TICKET, b.or_(stamp, first))
        b.atomic_rmw("xchg", self._word(pool, GENERATION), generation, "seq_cst")
        sleeping = b.load_atomic(self._word(pool, SLEEPERS), "seq_cst", 8, typ=I64)
        with b.if_then(b.icmp_signed(">", sleeping, I64(0))):
            self._futex(pool, GENERATION, FUTEX_WAKE, I64(0x7FFFFFFF))
        b.call(claim, [pool, generation, self.start, self.slice, self.scratch])
        b.store(units, self.unit)
        with b.if_then(b.icmp_signed("<", b.and_(self._get(pool, TICKET), LOW), units)):
            left = b.atomic_rmw("xchg", self._word(pool, TICKET), b.or_(stamp, LOW), "acq_rel")
            b.store(self.b.smin(b.and_(left, LOW), units), self.unit)
        claimed = b.load(self.unit, typ=I64)
        b.store(I64(0), self.spins)

        def wait() -> None:
            """Spin a while, then let the system run whoever holds the last unit: it may wait for this processor."""
            self._relax()
            turn = b.add(b.load(self.spins, typ=I64), I64(1))
            b.store(turn, self.spins)
            with b.if_then(b.icmp_signed(">", turn, I64(SPINS))):
                self._yield(pool)

        self._while(lambda: b.icmp_signed("<", self._get(pool, DONE), claimed), wait)
