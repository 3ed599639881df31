"""What a shape rule lets pass, the primitive can compute: files and servers hand attributes to rules unseen.

Samples of every primitive are changed at random (attributes and operands). The rule either refuses, or what it says
of the result is what comes out.
"""

import random

import numpy as np
import pytest

import weft  # noqa: F401  (all primitives)
from weft.base.errors import WeftError
from weft.ir.dtype import ALL, DType, dtype
from weft.ir.node import Aval
from weft.ir.primitive import registry

PRIMITIVES = [p for p in registry.values() if p.samples is not None and not p.higher_order]


def changed(value, rng):
    """An attribute that differs a little."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice([value + 1, value - 1, -1, 0, -value, 7, -3, None, (value,)])
    if isinstance(value, str):
        return rng.choice(["x", "", None])
    if isinstance(value, DType):
        return rng.choice(ALL)
    if isinstance(value, tuple):
        items = list(value)
        how = rng.random()
        if how < 0.6 and items:
            at = rng.randrange(len(items))
            items[at] = changed(items[at], rng)
        elif how < 0.75 and items:
            items.pop(rng.randrange(len(items)))
        elif how < 0.9:
            items.insert(rng.randrange(len(items) + 1), rng.choice([*items, 0, 1, 2, -1, 5]))
        else:
            rng.shuffle(items)
        return tuple(items)
    return value


def change_operand(args, rng):
    at = rng.randrange(len(args))
    x = args[at]
    how = rng.randrange(6)
    if how == 0:
        args[at] = x.astype(rng.choice([np.float32, np.int64, np.bool_, np.complex64, np.float64, np.uint8]))
    elif how == 1 and x.ndim:
        args[at] = x[..., :-1]
    elif how == 2:
        args[at] = x[None]
    elif how == 3 and x.ndim:
        args[at] = np.zeros((0, *x.shape[1:]), x.dtype)
    elif how == 4:
        args.append(x)
    else:
        args.pop(at)


@pytest.mark.parametrize("prim", PRIMITIVES, ids=lambda p: p.name)
@pytest.mark.filterwarnings("ignore")
def test_what_passes_the_rule_can_be_computed(prim):
    rng = random.Random(prim.name)
    samples = list(prim.samples())
    for _ in range(60):
        sample = rng.choice(samples)
        args, attrs = [np.asarray(a) for a in sample.args], dict(sample.attrs)
        if attrs and (not args or rng.random() < 0.7):
            name = rng.choice(list(attrs))
            attrs[name] = changed(attrs[name], rng)
        elif args:
            change_operand(args, rng)
        try:
            out = prim.infer(*[Aval(a.shape, dtype(a.dtype)) for a in args], **attrs)
            outs = out if isinstance(out, tuple) else (out,)
            sensible = all(type(n) is int and n >= 0 for o in outs for n in o.shape)
        except Exception:  # refused
            continue
        if not sensible:  # no file can name such a type
            continue
        said = f"{prim.name} of {[(a.dtype.name, a.shape) for a in args]} with {attrs}"
        try:
            with np.errstate(all="ignore"):
                found = prim.evaluate(*args, **attrs)
        except np.exceptions.AxisError as e:
            pytest.fail(f"{said}: {e}")
        except (IndexError, np.linalg.LinAlgError, WeftError):
            continue  # the values do not fit, which no shape rule can see
        except Exception as e:
            pytest.fail(f"{said}: {type(e).__name__}: {e}")
        for o, f in zip(outs, found if isinstance(out, tuple) else (found,), strict=True):
            assert np.shape(f) == o.shape, said
