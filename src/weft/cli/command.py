"""The command `weft`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from ..base.errors import WeftError


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
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    # The names are written out, so that `weft --help` need not import the models.
    names = ("softmax", "mlp", "cnn", "lstm", "transformer")
    demo.add_argument("--arch", choices=names, default="cnn", help="the kind of network")
    demo.add_argument("--epochs", type=_positive, help="epochs at most (default: what suits the network)")
    demo.add_argument("--batch-size", type=_positive, default=64, help="digits in one step")
    demo.add_argument("--lr", type=float, help="learning rate (default: what suits the network)")
    demo.add_argument(
        "--seed", type=int, default=0, help="fixes first weights, order of the digits and dropout"
    )
    demo.add_argument("--output", default="weft-demo", help="folder for the saved model and the picture")
    demo.add_argument("--quiet", action="store_true", help="show no progress")
    demo.set_defaults(run=_demo)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except WeftError as e:
        print(f"weft: {e}", *getattr(e, "__notes__", ()), sep="\n  ", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("weft: interrupted", file=sys.stderr)
        return 130
    return 0
