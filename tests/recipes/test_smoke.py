"""`--smoke`: which recordings a recipe is tried with, and what it refuses."""

import json
from pathlib import Path

import pytest
from codec_runs import write_tones
from speech_data import DATA, fifty
from typer.testing import CliRunner

from echoic.asr.whisper.training.corpus import read_corpus
from echoic.audio.data.manifest import Source, rows_of
from echoic.recipes.cli import build_app
from echoic.recipes.run_folder import find_run
from echoic.recipes.smoke import ROWS, Data

RECIPES = Path(__file__).parents[2] / "recipes"


def fit(recipe: str, root: Path, given: Path):
    line = ["train", "fit", "--config", str(RECIPES / recipe), "--smoke", str(given)]
    line += ["--trainer.default_root_dir", str(root), "--trainer.enable_progress_bar", "false"]
    return CliRunner().invoke(build_app(line), line)


def test_a_few_short_recordings_are_taken(tmp_path: Path) -> None:
    rows = [
        {"audio": str(u.path), "text": u.text if i else "", "duration": 13.0 if i == 1 else 3.0}
        for i, u in enumerate(fifty())
    ]
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = Data(manifest, tmp_path / "smoke")
    found = list(rows_of(Source(str(data.write(data.rows("text"))))))
    assert [row.values["text"] for row in found] == [u.text for u in fifty()[2 : 2 + ROWS]]
    assert all(row.audio.is_file() for row in found)


def test_a_folder_with_a_manifest_or_of_recordings(tmp_path: Path) -> None:
    tones = write_tones(tmp_path / "tones").parent
    data = Data(tones, tmp_path / "smoke")
    assert data.sounds().path == str(tmp_path / "smoke" / "manifest.jsonl")
    (tones / "manifest.jsonl").unlink()
    assert data.sounds().path == str(tones)


@pytest.mark.parametrize(
    ("recipe", "lines", "message"),
    [
        ("paraformer/aishell1.yaml", None, "No such file or directory"),
        ("paraformer/aishell1.yaml", [{"audio": "a.wav"}], "no recordings with 'text' of 12 s"),
        (
            "codec/echocodec.yaml",
            [{"audio": "a.wav", "duration": 60}],
            "no recordings with 'audio'",
        ),
        ("codec/echocodec.yaml", [{"audio": "a.wav"}], "1 recordings of "),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    recipe: str, lines: list[dict[str, object]] | None, message: str, tmp_path: Path
) -> None:
    manifest = tmp_path / "given.jsonl"
    if lines is not None:
        manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = fit(recipe, tmp_path, manifest)
    assert done.exit_code == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("echoic: ")]
    assert message in line
    assert "Traceback" not in done.output


@pytest.mark.slow
def test_a_whisper_recipe_aligns_the_recordings_first(tmp_path: Path) -> None:
    done = fit("whisper/causal-librispeech.yaml", tmp_path, DATA)
    assert done.exit_code == 0, done.output
    aligned = read_corpus(tmp_path / "smoke" / "aligned.jsonl")
    assert len(aligned) == 5
    assert find_run(tmp_path / "smoke").last.is_file()
