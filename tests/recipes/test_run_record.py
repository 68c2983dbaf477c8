"""What a run leaves in its folder, also when it goes on, fails or is stopped."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from codec_runs import write_tones
from typer.testing import CliRunner

from echoic.codecs.training.task import CodecTask
from echoic.recipes.cli import build_app
from echoic.recipes.run_folder import read_lines
from echoic.recipes.run_record import plain

RECIPE = Path(__file__).parents[2] / "recipes" / "codec" / "echo-16k-tiny.yaml"


def fit(root: Path, words: Sequence[str] = ()):
    """Try a recipe under a root, or go on."""
    line = ["train", "fit", "--config", str(RECIPE), "--smoke", str(root / "tones/manifest.jsonl")]
    line += ["--trainer.default_root_dir", str(root), "--trainer.enable_progress_bar", "false"]
    return CliRunner().invoke(build_app(line), [*line, *words])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_tones(tmp_path / "tones")
    return tmp_path


def lines(root: Path, name: str) -> list[dict[str, Any]]:
    return read_lines(root / "smoke" / "lightning_logs" / "version_0" / name)


def test_a_run_and_its_going_on_are_one_record(root: Path) -> None:
    first = fit(root, ["--trainer.max_steps", "2"])
    assert first.exit_code == 0, first.output
    start, end = lines(root, "run.jsonl")
    assert (start["event"], end["event"], end["status"], end["step"]) == (
        "start",
        "end",
        "finished",
        2,
    )
    assert start["command"][:3] == ["echoic", "train", "fit"]
    assert start["command"][-1] == "2"
    assert start["goes_on_from"] is None
    assert list(start["recipes"]) == [str(RECIPE)]
    assert start["environment"]["torch"] == torch.__version__
    assert start["echoic"]["version"]
    assert 0 < start["learning"] < start["parameters"]  # the mean does not learn
    assert math.isfinite(end["metrics"]["val/mel"])
    assert end["seconds"] > 0
    steps = [line["step"] for line in lines(root, "metrics.jsonl") if "train/mel" in line]
    assert steps == [0, 1]

    second = fit(root, ["--trainer.max_steps", "3", "--ckpt_path", "last"])
    assert second.exit_code == 0, second.output
    record = lines(root, "run.jsonl")
    assert record[:2] == [start, end]
    assert [line["event"] for line in record] == ["start", "end", "start", "end"]
    assert record[2]["goes_on_from"].endswith("version_0/checkpoints/last.ckpt")
    assert record[3]["step"] == 3
    steps = [line["step"] for line in lines(root, "metrics.jsonl") if "train/mel" in line]
    assert steps == [0, 1, 2]
    (folder,) = (root / "smoke" / "lightning_logs").iterdir()
    assert len(list(folder.glob("events.*"))) == 2
    recipes = [yaml.safe_load((folder / n).read_text()) for n in ("config.1.yaml", "config.yaml")]
    assert [recipe["trainer"]["max_steps"] for recipe in recipes] == [2, 3]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no\nway"), "ValueError: no way"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_the_end_is_told_however_it_comes(
    error: BaseException, status: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(CodecTask, "training_step", fail)
    assert fit(root).exit_code != 0
    start, end = lines(root, "run.jsonl")
    assert (end["event"], end["status"], end["step"]) == ("end", status, 0)
    assert start["event"] == "start"


def test_what_is_no_number_is_null_in_json() -> None:
    values = {"a": torch.tensor(0.5), "b": math.nan, "c": -math.inf, "d": 3}
    assert plain(values) == {"a": 0.5, "b": None, "c": None, "d": 3.0}
    assert json.loads(json.dumps(plain(values)))["b"] is None
