"""The command `weft`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ..base.errors import WeftError
from ..base.site import make_internal


def _version() -> str:
    try:
        return version("weft")
    except PackageNotFoundError:  # run from the sources, without installation
        return "(not installed)"


def _demo(options: argparse.Namespace) -> None:
    from .demo import demo

    demo(
        options.arch, epochs=options.epochs, batch_size=options.batch_size, lr=options.lr, seed=options.seed,
        output=options.output, progress=not options.quiet,
    )  # fmt: skip


def _inspect(options: argparse.Namespace) -> None:
    from .inspecting import inspect

    show = ["graph", "fused", "loops", "table"] if options.show is None else options.show
    inspect(options.target, options.input, dict(options.dim), show, options.output)


# The names are written out, so that `weft --help` need not import the compiler.
_PARTS = ("graph", "passes", "fused", "loops", "llvm", "assembly", "table")


def _parts(text: str) -> list[str]:
    parts = [p.strip() for p in text.split(",") if p.strip()]
    if not parts or any(p not in _PARTS for p in parts):
        raise ValueError(text)
    return parts


def _size(text: str) -> tuple[str, int]:
    name, _, size = text.partition("=")
    return name.strip(), _positive(size)


_parts.__name__, _size.__name__ = "list of parts", "NAME=SIZE"  # what argparse calls them in its messages


def _cache(options: argparse.Namespace) -> None:
    from .cache import clear_cache, show_cache

    clear_cache() if options.action == "clear" else show_cache()


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


_positive.__name__ = "positive integer"  # what argparse calls it in its message


def parser() -> argparse.ArgumentParser:
    """The options of the command and of its sub-commands."""
    top = argparse.ArgumentParser(prog="weft", description="Weft, a deep-learning framework.")
    top.add_argument("--version", action="version", version=f"weft {_version()}")
    commands = top.add_subparsers(title="commands", required=True, metavar="command")
    demo = commands.add_parser(
        "demo",
        help="train a network on real handwritten digits",
        description="Train a network on real handwritten digits, measure it on held-out ones, save it, load it again, "
        "and draw a picture.",
    )
    # The names are written out, so that `weft --help` need not import the models.
    names = ("softmax", "mlp", "cnn", "lstm", "transformer")
    demo.add_argument(
        "--arch", choices=names, default="cnn", help="the kind of network (default: %(default)s)"
    )
    demo.add_argument("--epochs", type=_positive, help="epochs at most (default: what suits the network)")
    demo.add_argument(
        "--batch-size", type=_positive, default=64, help="digits in one step (default: %(default)s)"
    )
    demo.add_argument("--lr", type=float, help="learning rate (default: what suits the network)")
    demo.add_argument(
        "--seed",
        type=int,
        default=0,
        help="fixes first weights, order of the digits and dropout (default: %(default)s)",
    )
    demo.add_argument(
        "--output",
        default="weft-demo",
        help="folder for the saved model and the picture (default: %(default)s)",
    )
    demo.add_argument("--quiet", action="store_true", help="show no progress")
    demo.set_defaults(run=_demo)
    _add_inspect(commands)
    _add_cache(commands)
    return top


def _add_inspect(commands: Any) -> None:
    look = commands.add_parser(
        "inspect",
        help="show what the compiler makes of a model",
        description="Show the graph of a model or compiled function before and after the passes, and the kernels that "
        "it becomes: their loops, operations and bytes, and the memory of the program. A file that is named is run, "
        "as by `import`.",
    )
    look.add_argument("target", help="model.py, model.py:name, package.module:name, or a saved program")
    look.add_argument(
        "--input", action="append", default=[], metavar="TYPE",
        help="the type of an argument, as f32[8,64] (once for each; sizes may be names)",
    )  # fmt: skip
    look.add_argument(
        "--dim",
        action="append",
        default=[],
        type=_size,
        metavar="NAME=SIZE",
        help="the size of an open dimension",
    )
    look.add_argument(
        "--show", type=_parts, metavar="PARTS",
        help=f"what to print, of {','.join(_PARTS)} (default: graph,fused,loops,table)",
    )  # fmt: skip
    look.add_argument("--output", metavar="FOLDER", help="write pictures (SVG, Graphviz) and texts there")
    look.set_defaults(run=_inspect)


def _add_cache(commands: Any) -> None:
    cache = commands.add_parser(
        "cache",
        help="show or clear the compiled kernels on disk",
        description="Show where compiled kernels are kept, how many there are and how large they are; `clear` removes "
        "them. WEFT_CACHE_DIR names another folder, WEFT_CACHE_SIZE the most megabytes; WEFT_CACHE=0 turns it off.",
    )
    cache.add_argument("action", nargs="?", choices=("show", "clear"), default="show")
    cache.set_defaults(run=_cache)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = parser().parse_args(arguments)
    if arguments is None:  # started by the script that pip has written, where no operation is asked for
        make_internal(sys._getframe(1).f_code.co_filename)
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads the output has seen enough: weft inspect model.py | head
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # what the interpreter flushes goes there
        return 1
    except WeftError as e:
        # An error of the system's would begin with its number.
        text = f"{e.strerror}: {e.filename!r}" if isinstance(e, OSError) and e.strerror else str(e)
        print(f"weft: {text}", *getattr(e, "__notes__", ()), sep="\n  ", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("weft: interrupted", file=sys.stderr)
        return 130
    return 0
