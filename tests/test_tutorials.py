"""Every tutorial is there in both languages, with the same code (which runs with that of all other pages)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "tutorials"
NAMES = sorted(p.stem for p in FOLDER.glob("*.md") if not p.stem.endswith(".zh-CN") and p.stem != "README")


def code(path: Path) -> list[tuple[str, str]]:
    """The Python blocks of a page as (their fences, their syntax trees without docstrings)."""
    found = []
    for info, text in re.findall(r"```(python[^\n]*)\n(.*?)```", path.read_text(encoding="utf-8"), re.S):
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
                node.body = node.body[1:]
        found.append((info, ast.dump(tree)))
    return found


def test_there_are_seven():
    assert set(NAMES) == {
        "first_model",
        "own_loop",
        "own_layer",
        "text",
        "images",
        "resuming",
        "debugging_nan",
    }
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"({n}.md)" in index and f"({n}.zh-CN.md)" in index for n in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_both_languages_have_the_same_code(name):
    english, chinese = FOLDER / f"{name}.md", FOLDER / f"{name}.zh-CN.md"
    assert code(english) == code(chinese) and len(code(english)) >= 5
    text = chinese.read_text(encoding="utf-8")
    assert re.search("[\u4e00-\u9fff]", text) and f"({name}.md)" in text
    assert f"({name}.zh-CN.md)" in english.read_text(encoding="utf-8")
    comments = re.findall(r"  # (?!fmt)(.*[a-z]{4,}.*)", re.sub(r"`[^`\n]*`", "", text))
    assert not [c for c in comments if not re.search("[\u4e00-\u9fff]", c)], "comments are translated, too"
