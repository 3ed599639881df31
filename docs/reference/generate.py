"""Writes the pages of this folder from docstrings, and from the examples in examples.txt, which it runs.

Run it after a change of a docstring: python docs/reference/generate.py

`--check` writes nothing and says which pages are out of date.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import weft as wf
from weft import data, metrics, nn, optim, train

HERE = Path(__file__).parent
SOURCE = Path(wf.__file__).parent  # src/weft
LOSSES = ("weft.nn.loss", "weft.nn.similarity", "weft.nn.adaptive")
DISTANCES = ("CosineSimilarity", "PairwiseDistance")


def _is_loss(name: str) -> bool:
    return getattr(nn, name).__module__ in LOSSES and name not in DISTANCES


def _names(module: ModuleType) -> list[str]:
    """The public classes and functions of a module."""
    names = getattr(module, "__all__", None)
    if names is None:
        names = [n for n, o in vars(module).items() if getattr(o, "__module__", "") == module.__name__]
    return sorted({n for n in names if not n.startswith("_") and callable(getattr(module, n))})


def pages() -> dict[str, tuple[str, str, list[tuple[str, ModuleType, list[str]]]]]:
    """File name -> (title, what it is about, [(how the names are written, the module, its names)])."""
    layers = [n for n in _names(nn) if not _is_loss(n)]
    losses = [n for n in _names(nn) if _is_loss(n)]
    rendered = {
        "layers": ("Layers", "Modules that compute: layers, activations, containers, initialisation and tools.",
                   [("nn", nn, layers), ("nn.init", nn.init, _names(nn.init)), ("nn.utils", nn.utils, _names(nn.utils)),
                    ("nn.utils.parametrizations", nn.utils.parametrizations, ["orthogonal"]),
                    ("nn.utils.parametrize", nn.utils.parametrize, _names(nn.utils.parametrize)),
                    ("nn.utils.rnn", nn.utils.rnn, _names(nn.utils.rnn))]),
        "losses": ("Losses", "What training makes small, as modules. As functions: [functional](functional.md).",
                   [("nn", nn, losses)]),
        "functional": ("Functional", "What layers and losses compute, as functions of tensors.",
                       [("nn.functional", nn.functional, _names(nn.functional))]),
        "optimisers": ("Optimisers", "Rules that move parameters, schedules of their rates, clipping and penalties.",
                       [("optim", optim, _names(optim))]),
        "data": ("Data", "Datasets, samplers, loaders, and changes of images.",
                 [("data", data, _names(data)), ("data.transforms", data.transforms, _names(data.transforms))]),
        "training": ("Training", "The loop that trains, and what can be hung into it.",
                     [("train", train, _names(train))]),
        "metrics": ("Metrics", "Figures that say how good a model is, gathered over batches.",
                    [("metrics", metrics, _names(metrics))]),
        "functions": ("Functions", "Functions of tensors, derivatives, control flow, and what surrounds them.",
                      [("wf", wf, [n for n in _names(wf) if n not in ("Trainer", "History")]),
                       ("wf.linalg", wf.linalg, _names(wf.linalg)), ("wf.fft", wf.fft, _names(wf.fft)),
                       ("wf.random", wf.random, [n for n in _names(wf.random) if n not in wf.__all__])]),
    }  # fmt: skip
    return rendered


def examples() -> dict[tuple[str, str], str]:
    """(prefix, name) -> code. A line of the file is `names: code`, where {name} stands for each of the names."""
    found: dict[tuple[str, str], str] = {}
    prefix = ""
    for number, line in enumerate((HERE / "examples.txt").read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("["):
            prefix = line.strip("[] ")
            continue
        names, _, code = line.partition(": ")
        if not code:
            raise SystemExit(f"examples.txt, line {number}: `names: code` expected, got {line!r}")
        for name in names.split():
            found[prefix, name] = code.strip().replace("{name}", name)
    return found


# -- running an example ---------------------------------------------------------------------------------------------


def shown(value: Any) -> str:
    """A value as the pages show it: four digits, so that they do not depend on the machine."""
    if isinstance(value, wf.Tensor):
        value = value.numpy()
    if isinstance(value, np.ndarray) and value.dtype.kind not in "biufc":
        value = value.astype(np.float32)  # bfloat16
    if isinstance(value, (np.ndarray, np.generic)):
        value = np.round(value, 4) + 0 if value.dtype.kind in "fc" else value
        return np.array2string(np.asarray(value), precision=4, suppress_small=True, separator=", ")
    if isinstance(value, bool) or value is None:
        return repr(value)
    if isinstance(value, float):
        return repr(round(value, 4) + 0.0)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return "\n".join(f"{f} = {shown(v)}" for f, v in zip(value._fields, value, strict=True))
    if isinstance(value, (tuple, list)):
        parts = ", ".join(shown(v) for v in value)
        if isinstance(value, list):
            return f"[{parts}]"
        return f"({parts}{',' if len(value) == 1 else ''})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k!r}: {shown(v)}" for k, v in value.items()) + "}"
    return repr(value)


def run(code: str) -> list[str]:
    """The lines of an example: what is written, and what the last expression gives."""
    names: dict[str, Any] = {"wf": wf, "nn": nn, "F": nn.functional, "optim": optim, "data": data, "train": train,
                             "metrics": metrics, "np": np, "transforms": data.transforms}  # fmt: skip
    wf.manual_seed(0)
    statements = ast.parse(code).body
    lines = [">>> " + ast.get_source_segment(code, s) for s in statements]  # type: ignore[operator]
    for s in statements[:-1]:
        exec(compile(ast.Module([s], []), "<example>", "exec"), names)
    last = statements[-1]
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), "<example>", "eval"), names)
        if value is not None:
            lines += shown(value).splitlines()
    else:
        exec(compile(ast.Module([last], []), "<example>", "exec"), names)
    return lines


# -- docstrings as Markdown ----------------------------------------------------------------------------------------

_SECTION = re.compile(r"(Args|Returns|Raises|Shapes|Attributes|Yields):\s*(.*)")
_ITEM = re.compile(r"([\w*][\w*, .]*?): (.*)", re.S)


def _blocks(text: str) -> list[list[str]]:
    """The paragraphs of a docstring, as lists of lines."""
    found: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.strip():
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [b for b in found if b]


def _items(lines: list[str]) -> list[str]:
    """The entries of a section, each with the lines that go on from it."""
    items: list[str] = []
    for line in textwrap.dedent("\n".join(lines)).splitlines():
        if line.startswith(" ") and items:
            items[-1] += " " + line.strip()
        else:
            items.append(line.strip())
    return items


def escaped(text: str) -> str:
    """Stars and angle brackets of formulas, which Markdown would take for its own; code stays as it is."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(p if i % 2 else re.sub(r"([*<])", r"\\\1", p) for i, p in enumerate(parts))


def _section(lines: list[str]) -> list[str]:
    match = _SECTION.match(lines[0])
    assert match is not None
    title, rest = match.groups()
    if rest:  # a sentence
        return [f"**{title}:** " + escaped(" ".join([rest, *[line.strip() for line in lines[1:]]])), ""]
    out = [f"**{title}:**", ""]
    for item in _items(lines[1:]):
        named = _ITEM.fullmatch(item)
        out.append(f"- `{named[1]}`: {escaped(named[2])}" if named else f"- {escaped(item)}")
    return [*out, ""]


def markdown(doc: str) -> list[str]:
    """A docstring as Markdown: formulas and examples as code, sections as lists."""
    out: list[str] = []
    for block in _blocks(inspect.cleandoc(doc)):
        if block[0].startswith(">>>"):
            out += ["```pycon", *block, "```", ""]
        elif all(line.startswith("    ") for line in block):
            fence = ["```text", *[line[4:] for line in block], "```", ""]
            if len(out) > 1 and out[-2:] == ["```", ""] and fence[0] == "```text" and "```text" in out:
                out = [*out[:-2], "", *fence[1:]]
            else:
                out += fence
        elif _SECTION.match(block[0]):
            out += _section(block)
        else:
            # A paragraph may end in formulas that are set in.
            plain = [line for line in block if not line.startswith("    ")]
            if len(plain) == len(block):
                out += [*escaped("\n".join(block)).splitlines(), ""]
            else:
                first = next(i for i, line in enumerate(block) if line.startswith("    "))
                out += [
                    *escaped("\n".join(block[:first])).splitlines(),
                    "",
                    "```text",
                    *[line[4:] for line in block[first:]],
                    "```",
                    "",
                ]
    return out


def signature(name: str, thing: Any) -> str:
    """How it is called, with the types left out where they say nothing."""
    try:
        text = str(inspect.signature(thing))
    except (TypeError, ValueError):
        return name
    text = re.sub(r"\s*->.*$", "", text)
    text = re.sub(r": '[^']*'", "", text)
    text = re.sub(r": [\w.\[\], |]+?(?= = |, \w+[,)=:]|\))", "", text)
    text = re.sub(r"<[^>]*>", "...", text)
    return name + text.replace(" = ", "=")


def source(thing: Any) -> str | None:
    """The file that it is written in, seen from this folder."""
    module = getattr(thing, "__module__", "") or ""
    if not module.startswith("weft"):
        return None
    file = importlib.import_module(module).__file__
    return "../../src/weft/" + Path(file).relative_to(SOURCE).as_posix() if file else None


def entry(prefix: str, module: ModuleType, name: str, table: dict[tuple[str, str], str]) -> list[str]:
    """One class or function."""
    thing = getattr(module, name)
    out = [f"### {prefix}.{name}", "", "```text", signature(name, thing), "```", ""]
    out += markdown(thing.__doc__ or "")
    if (prefix, name) in table:
        out += ["```pycon", *run(table[prefix, name]), "```", ""]
    where = source(thing)
    return [*out, f"[Source]({where})", ""] if where else out


def page(title: str, about: str, parts: list[tuple[str, ModuleType, list[str]]]) -> str:
    """A whole page: an index of the names, then the entries."""
    table = examples()
    out = [
        f"# {title}",
        "",
        "<!-- Written by generate.py from the docstrings: change those. -->",
        "",
        about,
        "",
    ]
    for prefix, _, names in parts:
        out += [" · ".join(f"[{n}](#{_anchor(f'{prefix}.{n}')})" for n in names), ""]
    for prefix, module, names in parts:
        out += [f"## {prefix}", ""]
        for name in names:
            out += entry(prefix, module, name, table)
    return "\n".join(out).rstrip() + "\n"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def index() -> str:
    """The page that leads to the others."""
    out = ["# Reference", "", "<!-- Written by generate.py. -->", "",
           "Every public class and function, with its mathematics, shapes, an example that was run, and the source.",
           "The short version is [everything on one page](../everything.md).", ""]  # fmt: skip
    out += [f"- [{title}]({name}.md): {about}" for name, (title, about, _) in pages().items()]
    return "\n".join(out) + "\n"


def written() -> dict[str, str]:
    """What every file of this folder should hold."""
    files = {f"{name}.md": page(*parts) for name, parts in pages().items()}
    return {"README.md": index(), **files}


def main() -> None:
    """Write the pages, or say which are out of date."""
    stale = []
    for name, text in written().items():
        path = HERE / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
    print("\n".join(stale) or "everything is up to date")
    if stale and "--check" in sys.argv:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
