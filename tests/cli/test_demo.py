"""The demo, as a library call and as a command."""

import sys

import numpy as np
import pytest

import weft as wf
from weft.base.errors import ArgumentError
from weft.cli import main
from weft.cli.architectures import ARCHITECTURES, architecture
from weft.cli.command import parser


def test_softmax_from_start_to_end(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    found = wf.demo("softmax", epochs=12, output=tmp_path, progress=False)
    assert found.accuracy > 0.93
    assert found.confusion.sum() == 359
    assert found.precision.shape == found.recall.shape == (10,)
    np.testing.assert_allclose(found.recall, np.diag(found.confusion) / found.confusion.sum(1))
    assert found.picture == tmp_path / "softmax.png"
    assert found.picture.read_bytes()[:4] == b"\x89PNG"
    weights = wf.load(found.weights)
    assert weights["1.weight"].numpy().tobytes() == found.model[1].weight.numpy().tobytes()
    out = capsys.readouterr().out
    assert f"test accuracy: {found.accuracy:.2%}" in out
    assert "predicts the same, bit by bit" in out


def test_the_same_seed_gives_the_same_bits(tmp_path):
    runs = [wf.demo("mlp", epochs=2, seed=s, output=tmp_path, progress=False) for s in (1, 1, 2)]
    bits = [b"".join(p.numpy().tobytes() for p in r.model.parameters()) for r in runs]
    assert bits[0] == bits[1] != bits[2]


def test_without_matplotlib_it_goes_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    found = wf.demo("softmax", epochs=1, output=tmp_path, progress=False)
    assert found.picture is None
    assert "pip install matplotlib" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ["softmax.safetensors"]


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture_takes_images(arch):
    make, _, _ = architecture(arch)
    model = make()
    assert model(wf.zeros((3, 1, 8, 8))).shape == (3, 10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arch", "least"),
    [("cnn", 0.98), ("softmax", 0.95), ("mlp", 0.96), ("lstm", 0.96), ("transformer", 0.96)],
)
def test_what_the_networks_reach(arch, least, tmp_path):
    assert wf.demo(arch, output=tmp_path, progress=False).accuracy >= least


def test_command(tmp_path, capsys):
    status = main(
        ["demo", "--arch", "softmax", "--epochs", "1", "--quiet", "--output", str(tmp_path / "new" / "er")]
    )
    assert status == 0
    assert "test accuracy" in capsys.readouterr().out
    assert (tmp_path / "new" / "er" / "softmax.safetensors").exists()


def test_the_command_knows_every_architecture():
    text = parser().parse_args(["demo"])
    assert text.arch in ARCHITECTURES
    for name in ARCHITECTURES:
        assert parser().parse_args(["demo", "--arch", name]).arch == name


@pytest.mark.parametrize(
    "arguments",
    [[], ["demmo"], ["demo", "--arch", "cnnn"], ["demo", "--epochs", "0"], ["demo", "--lr", "fast"]],
)
def test_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "weft" in capsys.readouterr().err


def test_errors_of_weft_are_messages(tmp_path, capsys):
    status = main(["demo", "--arch", "softmax", "--lr", "-1", "--quiet", "--output", str(tmp_path)])
    assert status == 1
    err = capsys.readouterr().err
    assert err.startswith("weft: ") and "lr must be" in err and "Traceback" not in err


def test_an_output_that_is_a_file(tmp_path, capsys):
    (tmp_path / "taken").write_text("mine")
    status = main(
        ["demo", "--arch", "softmax", "--epochs", "1", "--quiet", "--output", str(tmp_path / "taken")]
    )
    assert status == 1
    assert "taken" in capsys.readouterr().err
    assert (tmp_path / "taken").read_text() == "mine"


def test_interrupted(monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("weft.cli.demo.demo", interrupt)
    assert main(["demo"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("weft ")


def test_unknown_architecture():
    with pytest.raises(ArgumentError, match="'transformer'"):
        architecture("transfomer")
