"""What the scripts here are asked for, looked at before anything runs."""

import argparse
from collections.abc import Collection, Iterable
from pathlib import Path

#: Frameworks that there are adapters of.
FRAMEWORKS = sorted(p.stem for p in (Path(__file__).parent / "adapters").glob("[a-z]*.py"))


def refuse_unknown(
    parser: argparse.ArgumentParser, what: str, asked: Iterable[str], known: Collection[str]
) -> None:
    """End with a line that says which of the names asked for there is not, and which there are."""
    unknown = [name for name in asked if name not in known]
    if unknown:
        parser.error(f"there is no {what} {', '.join(unknown)}; there are {', '.join(known)}")


def refuse_unknown_frameworks(parser: argparse.ArgumentParser, asked: Iterable[str]) -> None:
    """The same of frameworks, behind whose name the variant of an adapter may stand: weft_compile."""
    refuse_unknown(parser, "framework", [name.split("_")[0] for name in asked], FRAMEWORKS)
