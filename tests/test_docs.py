"""Every Python block of the READMEs and of docs/ runs, in order, one process per file, warnings as errors.

A block opened with ```` ```python raises=ShapeError ```` must end with an error of that type. Blocks of other
languages (shell, text) are not run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

import pytest

import weft as wf
from weft import data, formats, inspect, metrics, nn, optim, train

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = sorted([*REPOSITORY.glob("README*.md"), *(REPOSITORY / "docs").rglob("*.md")])


@dataclass(frozen=True)
class Block:
    """A fenced block: where its first line stands, its text, and the error that it must end with, if any."""

    line: int
    text: str
    raises: str | None


def python_blocks(page: str) -> list[Block]:
    """The fenced blocks of `page` whose language is python."""
    found: list[Block] = []
    fence, start, info, body = "", 0, [""], []
    for number, line in enumerate(page.splitlines(), 1):
        mark = re.match(r"\s*(`{3,})\s*(.*)", line)
        if not fence and mark:
            fence, start, info, body = mark[1], number + 1, mark[2].split() or [""], []
        elif fence and mark and len(mark[1]) >= len(fence) and not mark[2]:
            if info[0] == "python":
                raises = [word.removeprefix("raises=") for word in info if word.startswith("raises=")]
                found.append(Block(start, "\n".join(body) + "\n", raises[0] if raises else None))
            fence = ""
        elif fence:
            body.append(line)
    if fence:
        raise ValueError(f"the block that starts at line {start} is not closed")
    return found


def run_page(path: Path) -> None:
    """Run the blocks of one page in one namespace; ends the process with a message where one fails."""
    namespace = {"__name__": "__main__"}
    for block in python_blocks(path.read_text(encoding="utf-8")):
        # Blank lines in front make line numbers those of the page, in tracebacks and in Weft's own messages.
        code = compile("\n" * (block.line - 1) + block.text, str(path), "exec")
        try:
            exec(code, namespace)
        except Exception as e:
            if type(e).__name__ != block.raises:
                traceback.print_exc()
                sys.exit(1)
        else:
            if block.raises:
                sys.exit(f"{path}:{block.line}: this block should raise {block.raises}, it ran through")


def run_in_a_process(path: Path, directory: Path) -> subprocess.CompletedProcess[str]:
    # The tutorials use the helpers of the tests.
    given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    search = os.pathsep.join([str(REPOSITORY / "tests"), *map(os.path.abspath, given)])
    return subprocess.run(
        [sys.executable, "-W", "error", __file__, str(path)],
        cwd=directory,
        env={**os.environ, "MPLBACKEND": "Agg", "PYTHONSAFEPATH": "1", "PYTHONPATH": search},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.relative_to(REPOSITORY).as_posix())
def test_blocks_run(path, tmp_path):
    if not python_blocks(path.read_text(encoding="utf-8")):
        return  # only the fences were checked
    done = run_in_a_process(path, tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.relative_to(REPOSITORY).as_posix())
def test_links_lead_somewhere(path):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(encoding="utf-8"), flags=re.S)  # no code
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


NAMESPACES = {
    "weft": wf.__all__, "linalg": wf.linalg.__all__, "fft": wf.fft.__all__, "random": wf.random.__all__,
    "nn": nn.__all__, "functional": nn.functional.__all__, "optim": optim.__all__, "data": data.__all__,
    "metrics": metrics.__all__, "train": train.__all__, "formats": formats.__all__, "inspect": inspect.__all__,
    "Module": [n for n in vars(nn.Module) if not n.startswith("_")],
}  # fmt: skip
# Names that the page spells in another way than in backticks.
SPELLED_OUT = {
    "config", "data", "demo", "errors", "extra_repr", "fft", "formats", "forward", "functional", "functional_call",
    "init", "inspect", "linalg", "metrics", "nn", "optim", "pytree", "random", "train", "utils",
}  # fmt: skip


@pytest.mark.parametrize("namespace", sorted(NAMESPACES))
def test_everything_is_on_one_page(namespace):
    text = (REPOSITORY / "docs" / "everything.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)(?:`|\()", text))
    missing = {n for n in NAMESPACES[namespace] if not n.startswith("_")} - named - SPELLED_OUT
    assert not missing


PAGE = """
```python
x = 1
```

````markdown
```python
raise ValueError("inside another block: not run")
```
````

```sh
false
```

```python raises=ZeroDivisionError
x / 0
```

```python
{last}
```
"""


@pytest.mark.parametrize(
    ("last", "says"),
    [
        ("assert x == 1", None),
        ("assert x == 2", "page.md, line 21"),
        ("import warnings; warnings.warn('no')", "UserWarning"),
    ],
)
def test_a_page_that_fails(tmp_path, last, says):
    page = tmp_path / "page.md"
    page.write_text(PAGE.replace("{last}", last))
    done = run_in_a_process(page, tmp_path)
    assert (done.returncode == 0) == (says is None), done.stderr
    if says:
        assert says in done.stderr.replace('"', "")


def test_a_page_whose_error_does_not_come(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python raises=ValueError\nx = 1\n```\n")
    done = run_in_a_process(page, tmp_path)
    assert done.returncode == 1
    assert "should raise ValueError" in done.stderr


if __name__ == "__main__":
    run_page(Path(sys.argv[1]))
