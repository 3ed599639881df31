"""The reference pages are what the docstrings say now, every entry has an example, and every example runs."""

from __future__ import annotations

import importlib.util
import inspect
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
spec = importlib.util.spec_from_file_location("reference", FOLDER / "generate.py")
generate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(generate)

PAGES = generate.pages()
#: What only works with files or packages that are not here.
WITHOUT = {
    "CIFAR10",
    "FashionMNIST",
    "MNIST",
    "ImageFolder",
    "read_image",
    "from_arrow",
    "from_pandas",
    "TensorBoard",
}


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_up_to_date(name):
    want = generate.page(*PAGES[name])
    have = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    assert have == want, f"docs/reference/{name}.md is out of date: run python docs/reference/generate.py"


def test_the_index_is_up_to_date_and_no_page_is_left_over():
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == generate.index()
    assert {p.stem for p in FOLDER.glob("*.md")} == {"README", *PAGES}


@pytest.mark.parametrize("name", PAGES)
def test_every_entry_has_words_and_an_example(name):
    table = generate.examples()
    for prefix, module, names in PAGES[name][2]:
        for n in names:
            doc = getattr(module, n).__doc__ or ""
            assert len(doc) > 10, f"{prefix}.{n} has no docstring"
            shown = ">>>" in doc or (prefix, n) in table
            assert shown or n in WITHOUT, f"{prefix}.{n}: add an example to docs/reference/examples.txt"


#: Modules that hold others or stand for something: there is no formula to tell.
HOLDERS = {
    "Module", "Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict", "Parameter", "Buffer",
    "UninitializedParameter", "UninitializedBuffer", "functional_call",
}  # fmt: skip


def _entries(page, prefix):
    return [(n, getattr(module, n)) for p, module, names in PAGES[page][2] if p == prefix for n in names]


def _has_formula(doc: str) -> bool:
    """A line that is set in and is no part of a list of arguments, or one of the text that says what equals what."""
    body = re.sub(r"(?ms)^ *(Args|Raises|Returns):\n(( {8,}.*)?\n?)*", "", doc)
    return re.search(r"(?m)^ {8}\S", body) is not None or " = " in body


@pytest.mark.parametrize(
    ("name", "thing"),
    [e for e in _entries("layers", "nn") if e[0] not in HOLDERS] + _entries("losses", "nn")
    + _entries("functional", "nn.functional"),
)  # fmt: skip
def test_layers_losses_and_functions_say_what_goes_in_and_comes_out(name, thing):
    assert re.search(r"Shapes?:", thing.__doc__), f"{name} does not say the shapes"


@pytest.mark.parametrize(
    ("name", "thing"), [e for e in _entries("layers", "nn") if e[0] not in HOLDERS] + _entries("losses", "nn")
)
def test_layers_and_losses_say_their_mathematics(name, thing):
    doc = thing.__doc__
    derived = re.match(r"(An? )?`\w+`", doc) or re.search(r": \[a b c\]|`\w+`\.$", doc.split("\n\n")[0])
    assert _has_formula(doc) or derived or name.endswith(("Pad1d", "Pad2d", "Pad3d", "Flatten", "Unflatten"))


@pytest.mark.parametrize(
    ("name", "thing"), [e for e in _entries("optimisers", "optim") if isinstance(e[1], type)]
)
def test_optimisers_and_schedules_say_their_mathematics_arguments_and_source(name, thing):
    doc = thing.__doc__
    if name == "ParamGroup":
        return
    assert "Args:" in doc
    if name != "Optimizer":
        assert _has_formula(doc), f"{name} has no formula"
    if issubclass(thing, generate.optim.Optimizer) and name != "Optimizer":
        assert "Reference:" in doc
    if issubclass(thing, generate.optim.Schedule):
        assert ">>>" in doc


#: Arguments that are the same everywhere, and are told where they come first; and those that the shapes tell.
EVERYWHERE = {
    "inplace", "dtype", "device", "generator", "training", "optimizer", "args", "kwargs", "process_group", "module",
    "input", "target", "tensor", "logits", "x1", "x2", "input1", "input2", "anchor", "positive", "negative",
}  # fmt: skip
PARTS = [("losses", "nn"), ("layers", "nn"), ("layers", "nn.init"), ("functional", "nn.functional"),
         ("optimisers", "optim")]  # fmt: skip


@pytest.mark.parametrize(("page", "prefix"), PARTS)
def test_every_argument_is_told(page, prefix):
    """By its name in the docstring, unless that sends the reader to another one for it."""
    untold = {}
    for name, thing in _entries(page, prefix):
        if name in HOLDERS | {"ParamGroup", "l1_penalty", "l2_penalty"}:
            continue
        if re.search(r"([Aa]rguments|[Oo]thers) .*are( those of)? ", thing.__doc__):
            continue
        names = [
            n for n in inspect.signature(thing).parameters if n not in EVERYWHERE and not n.startswith("_")
        ]
        missing = [n for n in names if not re.search(rf"\b{n}\b", thing.__doc__)]
        if missing:
            untold[name] = missing
    assert untold == {}


@pytest.mark.parametrize(("name", "thing"), _entries("layers", "nn.init"))
def test_initial_values_say_what_they_take(name, thing):
    assert "Shapes:" in thing.__doc__ or "Args:" in thing.__doc__


def test_no_example_is_of_something_that_is_not_there():
    known = {(prefix, n) for _, _, parts in PAGES.values() for prefix, _, names in parts for n in names}
    assert set(generate.examples()) <= known


def test_an_example_that_fails_is_not_hidden():
    with pytest.raises(generate.wf.errors.ShapeError):
        generate.run("x = wf.ones(2); x @ wf.ones(3)")
    assert generate.run("x = wf.tensor([1.0, 2.00001]); x * 2") == [
        ">>> x = wf.tensor([1.0, 2.00001])",
        ">>> x * 2",
        "[2., 4.]",
    ]


def test_links_lead_to_headings():
    for page in FOLDER.glob("*.md"):
        text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.S)
        anchors = {generate._anchor(h) for h in re.findall(r"^#+ (.*)$", text, re.M)}
        assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= anchors


def test_formulas_stay_formulas():
    doc = """a * b**2 for `x * y`.

    Args:
        x: a * b.
        y, z: more
            of it.

    Returns: a
        sentence.

        p <- p - lr g

    >>> 1 + 1
    2
    """
    text = "\n".join(generate.markdown(doc))
    assert r"a \* b\*\*2 for `x * y`." in text
    assert "- `x`: a \\* b.\n- `y, z`: more of it." in text
    assert "**Returns:** a sentence." in text
    assert "```text\np <- p - lr g\n```" in text
    assert "```pycon\n>>> 1 + 1\n2\n```" in text
