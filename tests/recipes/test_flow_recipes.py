"""The recipes of flow and vocoder, tried small on real speech: to one folder that makes sound."""

from pathlib import Path

import torch
from speech_data import DATA
from typer.testing import CliRunner

from echoic.recipes.cli import build_app
from echoic.tts.flow import FlowSpeech

FOLDER = Path(__file__).parents[2] / "recipes" / "tts"


def run(*line: str) -> None:
    words = list(line)
    done = CliRunner().invoke(build_app(words), words)
    assert done.exit_code == 0, done.output


def test_the_recipes_run_and_what_they_made_makes_sound(tmp_path: Path) -> None:
    folder = tmp_path / "flow"
    for name, place in (("flow", folder), ("vocoder", folder / "vocoder")):
        root = str(tmp_path / name / "runs")
        line = ["train", "fit", "--config", str(FOLDER / f"{name}.yaml"), "--smoke", str(DATA)]
        line += ["--trainer.default_root_dir", root, "--trainer.enable_progress_bar", "false"]
        run(*line)
        words = ["--overwrite"] if name == "flow" else []
        run("export", f"{root}/smoke", str(place), "--license", "apache-2.0", *words)
        card = (place / "README.md").read_text()
        assert "| val/total |" in card
        assert "80 mels, 100 a second, 16000 Hz" in card
    assert "| codec | echo-16k-tiny |" in (folder / "README.md").read_text()
    speech = FlowSpeech.from_pretrained(folder)
    assert speech.settings.chunk == 25
    codes = torch.randint(1024, (1, 8, 40))
    wav = speech.streaming_decoder(8)(codes)
    assert wav.shape == (1, 40 * 320)
    assert bool(wav.isfinite().all())
