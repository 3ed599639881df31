"""Where in the user's program an operation was asked for."""

import re
import sys

import weft as wf
from weft.base.site import describe_site, user_site
from weft.base.state import NO_SITE


def here():
    return sys._getframe(1).f_lineno


def test_the_line_outside_the_package():
    x = wf.ones((2,))
    y, line = wf.exp(x), here()
    assert describe_site(y._node.site) == f"{__file__}:{line}, in test_the_line_outside_the_package"


def test_through_layers_of_the_package():
    model = wf.nn.Linear(2, 3)
    y, line = model(wf.ones((4, 2))), here()
    assert f"test_site.py:{line}" in describe_site(y._node.site)


def test_lines_inside_a_longer_expression():
    x = wf.ones((2,))
    first = here() + 2
    y = wf.exp(
        wf.sin(x)
    )  # fmt: skip
    line = int(re.search(r":(\d+),", describe_site(y._node.args[0].site)).group(1))
    assert line == first


def test_code_without_a_file():
    scope = {"wf": wf}
    exec(compile("\n\ny = wf.ones((2,)) * 2", "<a cell>", "exec"), scope)
    assert describe_site(scope["y"]._node.site) == "<a cell>:3, in <module>"


def test_a_callback_of_the_user_is_the_users():
    sites = []

    def loss(v):
        out = wf.exp(v)
        sites.append((describe_site(out._node.site), here() - 1))
        return out.sum()

    wf.grad(loss)(wf.ones((2,)))
    ((where, line),) = sites
    assert where.endswith(f"test_site.py:{line}, in loss")


def test_unknown_places():
    assert describe_site(None) == "" and describe_site(NO_SITE) == ""
    assert user_site()[0].co_name == "test_unknown_places"
