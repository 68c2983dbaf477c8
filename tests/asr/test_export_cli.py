"""The command `export onnx`: what it writes, and what it refuses in one line."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from exported_paraformer import plain
from typer.testing import CliRunner, Result

from echoic.asr.paraformer.onnx.runtime import OnnxParaformer
from echoic.recipes.cli import build_app


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The folder of a small model."""
    plain().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def export(*words: str | Path) -> Result:
    line = ["export", "onnx", *map(str, words)]
    return CliRunner().invoke(build_app(line), line)


def refusal(result: Result, code: int) -> str:
    assert result.exit_code == code
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


@torch.no_grad()
def test_eight_bits_over_what_was_there(model: Path, tmp_path: Path):
    onnx: Any = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "diary").write_text("dear diary")
    (folder / "seg_dict").write_text("of another\tvocabulary\n")
    result = export(model, folder, "--int8", "--overwrite")
    assert result.exit_code == 0, result
    assert result.stderr == ""
    size = (folder / "model.onnx").stat().st_size / 1e6
    weights = f"{sum(p.numel() for p in plain().parameters()):,}"
    assert result.stdout == (
        f"{folder / 'model.onnx'}: {size:.1f} MB, {weights} weights, 40 tokens\n"
    )
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.json", "diary", "model.onnx", "tokens.json"}
    # All linear layers but that of the predictor, whose outputs are summed up.
    kinds = [node.op_type for node in onnx.load(folder / "model.onnx").graph.node]
    assert (
        kinds.count("MatMulInteger")
        == sum(isinstance(part, torch.nn.Linear) for part in plain().modules()) - 1
    )
    features = torch.randn(1, 200, 560, generator=torch.Generator().manual_seed(3))
    (expected,), (found,) = (
        each.recognize(features) for each in (plain(), OnnxParaformer.from_folder(folder))
    )
    assert found.quantity == pytest.approx(expected.quantity, rel=0.02)
    assert len(expected.tokens) > 20


def test_a_full_folder_is_refused_before_anything_is_loaded(tmp_path: Path):
    (tmp_path / "diary").write_text("dear diary")
    line = refusal(export("no/such/model", tmp_path), 2)
    assert line == f"echoic: {tmp_path} is not empty: give a new folder, or --overwrite"


@pytest.mark.parametrize("name", ["nonesuch", "./nonesuch"])
def test_no_such_model(name: str, tmp_path: Path):
    line = refusal(export(name, tmp_path / "out"), 1)
    assert line.startswith(f"echoic: no Paraformer {name}; in the box: ")
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_named(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    line = refusal(export(model, tmp_path / "out"), 1)
    assert line == "echoic: onnx is missing: pip install 'echoic[onnx]'"


def test_the_group_lists_its_commands():
    result = CliRunner().invoke(build_app(["export"]), ["export", "--help"])
    assert result.exit_code == 0
    assert "onnx" in result.stdout
    assert CliRunner().invoke(build_app(["export"]), ["export", "mp3"]).exit_code == 2
