"""The two READMEs say the same thing, and the commands in them are those that the machines run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
ENGLISH, CHINESE = REPOSITORY / "README.md", REPOSITORY / "README.zh-CN.md"


def blocks(path: Path) -> list[tuple[str, str]]:
    """(language, text) of the fenced blocks; comments and spoken strings are left out, they are translated."""
    text = path.read_text(encoding="utf-8")
    found = re.findall(r"^```(\S*).*?\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [(language, re.sub(r"\s*#.*", "", body)) for language, body in found]


@pytest.mark.parametrize("path", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_commands(path):
    shell = [body for language, body in blocks(path) if language == "sh"]
    assert "pip install . && weft demo\n" in shell
    assert "pip install '.[test]' && pytest\n" in shell
    after = path.read_text(encoding="utf-8").split("<!-- test-command -->\n")
    assert len(after) == 2, "the marker that .ci/run looks for stands exactly once"
    assert after[1].startswith("```sh\npip install '.[test]' && pytest\n```")


def test_same_code_in_both():
    assert blocks(ENGLISH) == blocks(CHINESE)


def test_each_links_to_the_other():
    assert "(README.zh-CN.md)" in ENGLISH.read_text(encoding="utf-8")
    assert "(README.md)" in CHINESE.read_text(encoding="utf-8")


def test_both_lead_to_the_same_pages():
    def pages(path: Path) -> set[str]:
        links = re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
        return {link.replace(".zh-CN", "") for link in links}

    assert pages(ENGLISH) == pages(CHINESE)
