"""The plan of the house: rooms on floors, imports only downward, files and functions of a readable size.

The rules read source text alone, so that they can be tried on small made-up packages: each has a test below
that breaks it.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "src" / "weft"

#: A room imports from lower floors only. Rooms on one floor do not know each other, and what lies beside the rooms
#: stands above them all: `weft/__init__.py`, and the modules below, which only say where names come from.
FACADES = ("__main__", "errors", "fft", "linalg", "pytree", "random")
FLOORS = (
    ("base",),
    ("ir",),
    ("ops",),
    ("autodiff", "passes"),
    ("kernel", "runtime"),
    ("backends",),
    ("arrays",),
    ("nn", "optim", "data", "metrics", "formats"),
    ("train", "inspect"),
    ("deploy", "dialects"),
    ("cli",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 80

#: What the distributions in `pyproject.toml` are called when they are imported, where that differs.
IMPORT_NAMES = {"pyyaml": "yaml"}


@dataclass(frozen=True)
class Import:
    """One import statement, resolved: `target` is the dotted name, relative to the package ("" is its root)."""

    source: str
    target: str
    line: int
    at_import: bool  #: runs when the module is imported: not in a function, not under TYPE_CHECKING
    foreign: bool = False  #: of another distribution; then `target` is its top-level name


# -- reading the source ------------------------------------------------------------------------------------


def modules(package: Path) -> dict[str, Path]:
    """Dotted name relative to the package -> file; packages are called by their own name, the root is ""."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _import_statements(
    tree: ast.AST, runs: bool = True
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node, runs
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from _import_statements(node, False)
        elif isinstance(node, ast.If) and _is_type_checking(node):
            for child in node.body:
                yield from _import_statements(ast.Module([child], []), False)
            yield from _import_statements(ast.Module(node.orelse, []), runs)
        else:
            yield from _import_statements(node, runs)


def _from_targets(node: ast.ImportFrom, name: str, is_package: bool, known: dict[str, Path], package: str):
    """The modules that `from X import a, b` needs, as (dotted name, whether foreign)."""
    if node.level:
        here = name.split(".") if name else []
        if not is_package:
            here = here[:-1]
        base = here[: len(here) - (node.level - 1)] + (node.module.split(".") if node.module else [])
    elif node.module == package or (node.module or "").startswith(package + "."):
        base = node.module.split(".")[1:]
    else:
        yield (node.module or "").split(".")[0], True
        return
    dotted = ".".join(base)
    for alias in node.names:
        inner = f"{dotted}.{alias.name}" if dotted else alias.name
        yield (inner if inner in known else dotted), False


def imports(package: Path) -> list[Import]:
    """Every import of every module of the package, those in functions too."""
    known = modules(package)
    found = []
    for name, path in known.items():
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        for node, runs in _import_statements(tree):
            if isinstance(node, ast.ImportFrom):
                targets = set(_from_targets(node, name, path.name == "__init__.py", known, package.name))
            else:
                targets = set()
                for alias in node.names:
                    top, _, rest = alias.name.partition(".")
                    targets.add((rest, False) if top == package.name else (top, True))
            found += [Import(name, t, node.lineno, runs, foreign) for t, foreign in sorted(targets)]
    return found


# -- the rules ---------------------------------------------------------------------------------------------


def _room(name: str) -> str:
    return name.split(".")[0]


def misplaced(package: Path) -> list[str]:
    """Imports that go up, sideways, or to the package's own root."""
    out = []
    for i in imports(package):
        if i.foreign or i.source in ("", *FACADES):
            continue
        here, there = _room(i.source), _room(i.target)
        where = f"{i.source.replace('.', '/')}.py:{i.line} imports {i.target or 'the root of the package'}"
        if there in ("", *FACADES):
            out.append(f"{where}: nothing inside the package may import its root")
        elif here not in FLOOR_OF or there not in FLOOR_OF:
            unknown = here if here not in FLOOR_OF else there
            out.append(f"{where}: {unknown!r} is not a room of the plan")
        elif here != there and FLOOR_OF[there] >= FLOOR_OF[here]:
            way = "up" if FLOOR_OF[there] > FLOOR_OF[here] else "sideways"
            out.append(f"{where}: {way}, from floor {FLOOR_OF[here]} to floor {FLOOR_OF[there]}")
    return out


def _runs_on_import(target: str, source: str, known: dict[str, Path]) -> set[str]:
    """`target` and the packages around it, except those around `source`, which are being imported already."""
    parts = target.split(".")
    names = {".".join(parts[: i + 1]) for i in range(len(parts))}
    around = {p for p in names if source == p or source.startswith(p + ".")}
    return {n for n in names - around if n in known}


def cycles(package: Path) -> list[list[str]]:
    """Groups of modules that import each other when they are imported (Tarjan's strong components)."""
    known = modules(package)
    edges: dict[str, set[str]] = {name: set() for name in known}
    for i in imports(package):
        if not i.foreign and i.at_import and i.source and i.target:
            edges[i.source] |= _runs_on_import(i.target, i.source, known)
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    out: list[list[str]] = []

    def visit(v: str) -> None:
        order[v] = low[v] = len(order)
        stack.append(v)
        for w in sorted(edges[v]):
            if w not in order:
                visit(w)
                low[v] = min(low[v], low[w])
            elif w in stack:
                low[v] = min(low[v], order[w])
        if low[v] == order[v]:
            at = stack.index(v)
            group = stack[at:]
            del stack[at:]
            if len(group) > 1:
                out.append(sorted(group))

    for v in edges:
        if v not in order:
            visit(v)
    return out


def long_files(package: Path) -> list[str]:
    out = []
    for path in sorted(package.rglob("*.py")):
        n = len(path.read_text(encoding="utf-8").splitlines())
        if n > MAX_FILE_LINES:
            out.append(f"{path.relative_to(package)}: {n} lines")
    return out


def _docstring_lines(node: ast.AST) -> int:
    first = node.body[0]  # type: ignore[attr-defined]
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    if is_text and isinstance(first.value.value, str):
        return first.end_lineno - first.lineno + 1
    return 0


def long_functions(package: Path) -> list[str]:
    out = []
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                n = (node.end_lineno or node.lineno) - node.lineno + 1 - _docstring_lines(node)
                if n > MAX_FUNCTION_LINES:
                    out.append(f"{path.relative_to(package)}:{node.lineno}: {node.name} has {n} lines")
    return out


def _only_names(node: ast.stmt) -> bool:
    """Whether a statement of an `__init__.py` does no more than say where names come from."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return True
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    if _is_type_checking(node):
        return all(_only_names(child) for child in [*node.body, *node.orelse])  # type: ignore[attr-defined]
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        dunder = all(isinstance(t, ast.Name) and t.id.startswith("__") for t in targets)
        # Tables of lazily imported names, `_lazy = {"nn": ...}`, and what builds __all__ from them.
        private = all(isinstance(t, ast.Name) and t.id.startswith("_") for t in targets)
        return dunder or (private and isinstance(node.value, (ast.Dict, ast.Tuple, ast.List, ast.Set)))
    return isinstance(node, ast.FunctionDef) and node.name in ("__getattr__", "__dir__")


def working_inits(package: Path) -> list[str]:
    """Statements of `__init__.py` files that do more than re-export."""
    out = []
    facades = [package / f"{name}.py" for name in FACADES if name != "__main__"]
    for path in sorted([*package.rglob("__init__.py"), *[f for f in facades if f.exists()]]):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not _only_names(node):
                out.append(f"{path.relative_to(package)}:{node.lineno}: {ast.unparse(node).splitlines()[0]}")
    return out


def undeclared(package: Path, declared: set[str]) -> list[str]:
    """Modules of other distributions that an installation without extras may lack, imported on import."""
    return [
        f"{i.source.replace('.', '/')}.py:{i.line} imports {i.target}: inside a function, or declare it"
        for i in imports(package)
        if i.foreign and i.at_import and i.target not in declared and i.target not in sys.stdlib_module_names
    ]


def declared_dependencies() -> set[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = set()
    for requirement in project["dependencies"]:
        name = requirement.split(";")[0]
        for stop in "<>=!~[ ":
            name = name.split(stop)[0]
        names.add(IMPORT_NAMES.get(name.lower(), name.replace("-", "_")))
    return names


# -- the house as it stands --------------------------------------------------------------------------------


def test_imports_go_down():
    assert misplaced(PACKAGE) == []


def test_no_import_cycles():
    assert cycles(PACKAGE) == []


def test_files_have_one_topic():
    assert long_files(PACKAGE) == []


def test_functions_fit_a_screen():
    assert long_functions(PACKAGE) == []


def test_inits_only_reexport():
    assert working_inits(PACKAGE) == []


def test_imports_are_declared():
    assert undeclared(PACKAGE, declared_dependencies()) == []


def test_every_directory_is_a_room():
    rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir() and any(p.rglob("*.py"))}
    assert rooms <= set(FLOOR_OF)
    assert all((PACKAGE / room / "__init__.py").exists() for room in rooms)


# -- each rule can fail ------------------------------------------------------------------------------------


@pytest.fixture
def house(tmp_path):
    """Builds a package called weft from {file: text}."""

    def build(files: dict[str, str]) -> Path:
        root = tmp_path / "weft"
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            for directory in [path.parent, *path.parent.parents]:
                if directory == tmp_path:
                    break
                (directory / "__init__.py").touch()
            path.write_text(text)
        return root

    return build


DOWNWARD = {
    "base/errors.py": "import os\n",
    "ir/node.py": "from ..base.errors import X\nfrom .dtype import D\n",
    "ir/dtype.py": "import numpy\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .node import N\n",
    "ops/math.py": "def f():\n    from ..ir import node\n",
    "ops/composite/nn.py": "from ...ir.node import N\nfrom ..math import f\n",
    "nn/linear.py": "from weft.ops.composite.nn import g\nimport weft.base.errors\n",
    "__init__.py": "from .nn import linear\n",
}


def test_a_sound_house(house):
    root = house(DOWNWARD)
    assert misplaced(root) == []
    assert cycles(root) == []
    assert undeclared(root, {"numpy"}) == []
    assert working_inits(root) == []


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("ir/up.py", "from ..ops.math import f\n", "up, from floor 1 to floor 2"),
        ("ir/up.py", "def f():\n    import weft.ops\n", "up, from floor 1 to floor 2"),
        ("ir/up.py", "class A:\n    def f(self):\n        from ..nn import linear\n", "up, from floor 1"),
        ("ir/up.py", "if TYPE_CHECKING:\n    from ..ops.math import f\n", "up"),
        ("ops/composite/up.py", "from ...nn.linear import Linear\n", "up, from floor 2"),
        ("optim/sgd.py", "from ..nn import linear\n", "sideways"),
        ("ops/root.py", "from .. import tensor\n", "root"),
        ("ops/root.py", "import weft\n", "root"),
        ("ops/root.py", "def f():\n    from weft import grad\n", "root"),
        ("cellar/x.py", "from ..base import errors\n", "'cellar' is not a room"),
        ("ops/try.py", "try:\n    from ..nn import linear\nexcept ImportError:\n    pass\n", "up"),
    ],
)
def test_misplaced_imports_are_found(house, file, text, says):
    (problem,) = misplaced(house({**DOWNWARD, file: text}))
    assert file.removesuffix(".py") in problem
    assert says in problem


@pytest.mark.parametrize(
    ("files", "group"),
    [
        ({"ir/a.py": "from .b import y\n", "ir/b.py": "from .a import x\n"}, ["ir.a", "ir.b"]),
        ({"ir/a.py": "from . import b\n", "ir/b.py": "from . import c\n", "ir/c.py": "from . import a\n"},
         ["ir.a", "ir.b", "ir.c"]),
        # Through the package: importing ops.sub.x runs ops/sub/__init__.py first.
        ({"ops/a.py": "from .sub.x import f\n", "ops/sub/x.py": "", "ops/sub/__init__.py": "from .. import a\n"},
         ["ops.a", "ops.sub"]),
    ],
)  # fmt: skip
def test_cycles_are_found(house, files, group):
    assert cycles(house(files)) == [group]


def test_imports_in_functions_make_no_cycle(house):
    root = house({"ir/a.py": "from .b import y\n", "ir/b.py": "def f():\n    from .a import x\n"})
    assert cycles(root) == []


def test_long_files_and_functions_are_found(house):
    short = 'def f():\n    """' + "words\n" * 90 + '"""\n' + "    x = 1\n" * 79
    root = house(
        {"base/a.py": "\n" * 501, "base/b.py": "def f():\n" + "    x = 1\n" * 80, "base/c.py": short}
    )
    assert long_files(root) == ["base/a.py: 501 lines"]
    assert long_functions(root) == ["base/b.py:1: f has 81 lines"]


def test_working_inits_are_found(house):
    text = '"""Text."""\nfrom .a import x\n__all__ = ["x"]\n\ndef helper():\n    return 1\n\nregister(x)\n'
    assert working_inits(house({"base/a.py": "x = 1\n", "base/__init__.py": text})) == [
        "base/__init__.py:5: def helper():",
        "base/__init__.py:8: register(x)",
    ]


def test_undeclared_imports_are_found(house):
    root = house(
        {
            "base/a.py": "import os\nimport numpy.linalg\nfrom torch import nn\ndef f():\n    import matplotlib\n"
        }
    )
    (problem,) = undeclared(root, {"numpy"})
    assert "base/a.py:3 imports torch" in problem
