"""The guide to training and its translation have the same programs, which `test_docs.py` runs."""

from test_docs import REPOSITORY, python_blocks


def test_the_translation_has_the_same_programs():
    pages = [(REPOSITORY / "docs" / f"training{kind}.md").read_text("utf-8") for kind in ("", ".zh-CN")]
    english, chinese = ([(b.text, b.raises) for b in python_blocks(page)] for page in pages)
    assert english == chinese and len(english) > 5
    headings = [sum(line.startswith("## ") for line in page.splitlines()) for page in pages]
    assert headings[0] == headings[1]
