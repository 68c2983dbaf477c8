"""`echoic train`: a whole small run, resumed and exported, and what is refused in one line."""

import builtins
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from clicking_corpus import clicking_corpus, write_corpus
from speech_data import DATA, novel
from typer.testing import CliRunner
from whisper_factory import write_folder

from echoic.asr.whisper.streaming.load import load_recognizer
from echoic.asr.whisper.training.export import export_adapter, read_run
from echoic.asr.whisper.training.task import CausalWhisperTask
from echoic.recipes.cli import build_app
from echoic.recipes.run_folder import METRICS_FILE, find_run, read_lines
from echoic.recipes.train import one_line

ECHOIC = Path(sys.executable).with_name("echoic")
RECIPES = Path(__file__).parents[2] / "recipes" / "whisper"
SHIPPED = RECIPES / "causal-tiny.en.yaml"


def recipe(folder: Path, base: str, manifest: Path) -> Path:
    """A shipped recipe, made small."""
    values = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    values["model"]["init_args"] |= {"base": base, "lora": {"rank": 2}}
    values["data"]["init_args"] |= {
        "base": base,
        "train": [{"manifest": str(manifest)}],
        "validation": [{"manifest": str(manifest)}],
        "validation_batches": 1,
        "batches": {
            "seconds": 4.0,
            "lengths": [2.0],
            "block_sizes": [10, 16],
            "block_weights": [1, 1],
        },
        "num_workers": 0,
    }
    checkpoints = values["trainer"]["callbacks"][0]
    assert checkpoints["class_path"].endswith("ModelCheckpoint")
    checkpoints["init_args"] = {"dirpath": str(folder), "every_n_train_steps": 1, "save_last": True}
    values["trainer"] |= {
        "max_steps": 2,
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "callbacks": [checkpoints],
        "default_root_dir": str(folder),
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A recipe for a Whisper of random weights that hears clicks."""
    base = write_folder(tmp_path / "base")
    manifest = write_corpus(tmp_path / "aligned.jsonl", clicking_corpus(tmp_path))
    return recipe(tmp_path, str(base), manifest)


def train(*words: str | Path):
    return CliRunner().invoke(build_app(["train"]), ["train", *map(str, words)])


@pytest.mark.parametrize("shipped", sorted(RECIPES.glob("causal-*.yaml")), ids=lambda p: p.stem)
def test_every_causal_recipe_runs(shipped: Path, tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path / "aligned.jsonl", clicking_corpus(tmp_path))
    base = write_folder(tmp_path / "base")
    done = train(
        "fit", "--config", shipped, "--smoke", manifest, "--trainer.default_root_dir", tmp_path,
        "--model.init_args.base", base, "--data.init_args.base", base, "--trainer.max_steps", "1",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    run = find_run(tmp_path / "smoke")
    assert read_run(run.last)["global_step"] == 1
    heard = [name for line in read_lines(run.folder / METRICS_FILE) for name in line]
    assert {"val/wer_320", "val/wer_offline"} <= set(heard)


def test_a_run_from_the_recipe_to_a_recogniser(small: Path, tmp_path: Path) -> None:
    first = train("fit", "--config", small)
    assert first.exit_code == 0, first.output
    last = tmp_path / "last.ckpt"
    begun = read_run(last)
    assert begun["global_step"] == 2
    resumed = train("fit", "--config", small, "--ckpt_path", last, "--trainer.max_steps", "3")
    assert resumed.exit_code == 0, resumed.output
    newest = max(tmp_path.glob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns)
    values = read_run(newest)
    assert values["global_step"] == 3
    changed = [
        name
        for name, value in values["state_dict"].items()
        if not torch.equal(value, begun["state_dict"][name])
    ]
    assert changed
    assert train("validate", "--config", small, "--ckpt_path", newest).exit_code == 0
    export_adapter(newest, tmp_path / "adapter")
    recognizer = load_recognizer(tmp_path / "adapter", chunk_ms=320)
    state, _ = recognizer.step(recognizer.initial_state(), novel()[1].wav[None, :32_000])
    recognizer.finish(state)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sing"], "'sing' is none of fit, validate, test, predict"),
        (["fit"], "echoic: the following arguments are required: fit.data, fit.model"),
        (["fit", "--config", "none.yaml"], "File does not exist: "),
        (["fit", "--config", "RECIPE", "--model.init_args.nix", "3"], "model: Option 'nix'"),
        (["fit", "--config", "RECIPE", "--model.init_args.distillation", "x"], "model: "),
        (["fit", "--config", "RECIPE", "--model.init_args.base", "nomodel"], "no model 'nomodel'"),
        (["fit", "--config", "RECIPE", "--ckpt_path", "no.ckpt"], "no checkpoint no.ckpt; give"),
        (
            ["fit", "--config", "RECIPE", "--data.init_args.train", '[{"manifest": "no.jsonl"}]'],
            "No such file or directory: 'no.jsonl'",
        ),
        (
            ["fit", "--config", "RECIPE", "--data.init_args.timing.hold_seconds", "-1"],
            "hold_seconds is -1.0: exp",
        ),
        (["fit", "--config", "RECIPE", "--data.init_args.form", "whole"], "whole"),
        (["fit", "--config", "broken.yaml"], "Problems parsing config"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words: list[str], message: str, small: Path) -> None:
    (small.parent / "broken.yaml").write_text("model: [\n")
    names = {"RECIPE": str(small), "broken.yaml": str(small.parent / "broken.yaml")}
    result = train(*(names.get(word, word) for word in words))
    assert result.exit_code == 2
    lines = [line for line in result.stderr.splitlines() if "Seed set" not in line]
    assert message in " ".join(lines)
    assert "Traceback" not in result.output
    if words != ["sing"]:  # which is typer's, boxed here and one line in `echoic`
        assert len(lines) == 1
        assert lines[0].startswith("echoic: ")
        assert len(lines[0]) < 400


@pytest.mark.parametrize("name", ["lightning", "jsonargparse", "peft"])
def test_a_package_that_is_missing_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(module: str, *arguments, **options):
        if module.partition(".")[0] == name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(module, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    result = train("fit")
    assert result.exit_code == 1
    told = f"echoic: training needs {name}; install it with: pip install 'echoic[train]'"
    assert result.stderr.splitlines() == [told]


def test_a_mistake_in_our_own_code_is_not_hidden(small: Path, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a mistake of ours")

    monkeypatch.setattr(CausalWhisperTask, "training_step", fail)
    result = train("fit", "--config", small)
    assert isinstance(result.exception, ValueError)


def test_the_help_pages() -> None:
    page = train("--help")
    assert page.exit_code == 0
    assert "train [OPTIONS]" in page.stdout
    assert "--trainer.max_steps" in page.stdout
    assert train().exit_code == 2


def test_the_shipped_recipe_is_read_and_names_what_is_not_there() -> None:
    result = train("fit", "--config", SHIPPED)
    assert result.exit_code == 2
    assert "data/" in result.stderr


def test_the_point_of_a_long_message() -> None:
    tried = "Errors:\n  - Does not validate against any\n   Errors:\n  - no 'x'\n  - no None"
    assert one_line(f'Parser key "model":\n  Does not validate\n  {tried}') == "model: no 'x'"
    assert one_line(f"Does not validate\n{tried}") == "no 'x'"
    assert one_line("[Errno 2] No such file or directory: 'a'") == "No such file or directory: 'a'"
    assert one_line("two\n  lines") == "two lines"
    assert one_line("") == ""


@pytest.mark.slow
def test_the_real_command_trains_the_box_model_on_real_sentences(tmp_path: Path) -> None:
    def run(*words: object) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([*map(str, words)], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done

    manifest = tmp_path / "aligned.jsonl"
    module = "echoic.recipes.prepare.aligned"
    run(sys.executable, "-m", module, DATA / "manifest.jsonl", manifest)
    assert len(manifest.read_text().splitlines()) == 5
    small = recipe(tmp_path, "tiny.en", manifest)
    run(ECHOIC, "train", "fit", "--config", small)
    run(ECHOIC, "train", "fit", "--config", small, "--ckpt_path", tmp_path / "last.ckpt",
        "--trainer.max_steps", "3")  # fmt: skip
    newest = max(tmp_path.glob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns)
    assert read_run(newest)["global_step"] == 3
    export_adapter(newest, tmp_path / "adapter")
    told = run(
        ECHOIC, "stream", novel()[1].path, "--model", tmp_path / "adapter", "--json",
        "--chunk-ms", "1000",
    )  # fmt: skip
    events = [json.loads(line) for line in told.stdout.splitlines()]
    assert any(event["type"] == "final" for event in events)
