"""The command `data buckets`: sizes that a recipe's own step bears, as a recipe for `train fit`."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from paraformer_runs import MODEL, write_manifest, write_vocabulary
from typer.testing import CliRunner, Result

from echoic.asr.paraformer.training.samples import RandomBatches
from echoic.audio.data.batch_trials import MemoryTrial
from echoic.recipes.cli import build_app
from echoic.recipes.recipe_step import RecipeStep

RECIPES = Path(__file__).parents[3] / "recipes"
SECONDS, TOKENS = 2.0, 20


def run(*words: object) -> Result:
    line = list(map(str, words))
    return CliRunner().invoke(build_app(line), line)


def buckets(*words: object) -> Result:
    return run("data", "buckets", *words)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe of few weights with two buckets of durations."""
    manifest = write_manifest(tmp_path)
    vocabulary = write_vocabulary(tmp_path / "tokens")
    checkpoint = {"every_n_train_steps": 1, "save_last": True, "dirpath": str(tmp_path)}
    values: dict[str, Any] = {
        "model": {
            "class_path": "echoic.asr.paraformer.training.task.ParaformerTask",
            "init_args": {
                "model": MODEL,
                "vocabulary": str(vocabulary),
                "cmvn": str(vocabulary / "cmvn.json"),
                "chunks": {"cuts": [{"look_back": 1, "stride": 4, "look_ahead": 1}]},
            },
        },
        "data": {
            "class_path": "echoic.asr.paraformer.training.datamodule.ParaformerData",
            "init_args": {
                "train": [{"path": str(manifest)}],
                "vocabulary": str(vocabulary),
                "augment": {"speed": {"factor": [0.8, 1.0]}},
                "buckets": {"duration": 2, "tokens": 1, "strict": False},
                "cache": True,
            },
        },
        "trainer": {
            "max_steps": 2,
            "accelerator": "cpu",
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": str(tmp_path),
            "callbacks": [
                {
                    "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                    "init_args": checkpoint,
                },
                {
                    "class_path": "seen_batches.SeenBatches",
                    "init_args": {"folder": str(tmp_path)},
                },
            ],
        },
    }
    values["model"]["init_args"]["model"] = MODEL | {"decoder": MODEL["decoder"] | {"shift": 1}}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_what_is_found_is_a_recipe_for_fit(recipe: Path, tmp_path: Path) -> None:
    found = tmp_path / "buckets.yaml"
    done = buckets("--config", recipe, "--step-seconds", 100, "--most", 2, "-o", found)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{found}: 2 buckets, batches of 2 to 2; 6 utterances in 3 steps\n"
    assert [line.partition(":")[2] for line in done.stderr.splitlines()] == [" batches of 2"] * 2
    fields = yaml.safe_load(found.read_text())["data"]["init_args"]["buckets"]
    assert fields["strict"] is False, "what the recipe says of buckets stays"
    assert fields["saved"]["batch_sizes"] == [2, 2]
    trained = run("train", "fit", "--config", recipe, "--config", found)
    assert trained.exit_code == 0, trained.output
    seen = json.loads((tmp_path / "seen-0.json").read_text())
    assert [len(texts) for texts in seen["texts"]] == [2, 2]


def test_a_budget_of_memory(recipe: Path) -> None:
    values = yaml.safe_load(recipe.read_text())["model"]
    step = RecipeStep(values, {}, RandomBatches(16_000, 24))
    trial = MemoryTrial(step, 2**40, preload=("echoic.recipes.bucket_search",))
    least, most = (trial.peak(size, 6.0, TOKENS) for size in (1, 17))
    assert least is not None
    assert most is not None
    assert most > least + 2**24, "noise is less than that"
    budget = (least + most) // 2
    more = ["--data.init_args.buckets.duration", 1, "--memory", budget, "--most", 64]
    done = buckets("--config", recipe, *more)
    assert done.exit_code == 0, done.output
    head, *lines = done.stdout.splitlines()
    assert head.startswith("# Found by: echoic data buckets --config ")
    saved = yaml.safe_load("\n".join(lines))["data"]["init_args"]["buckets"]["saved"]
    ((size,), ((seconds, _),)) = saved["batch_sizes"], saved["edges"]
    # As much sound as in the middle between both, the slowest speed included.
    assert size * seconds / 0.8 == pytest.approx(9 * 6.0, rel=0.5)


def test_batches_are_as_long_as_the_slowest_speed() -> None:
    batch = RandomBatches(16_000, 24, 1.25)(3, SECONDS, TOKENS, 5)
    assert batch.number == 5
    assert batch.wav.shape == (3, 40_000)
    assert batch.samples.tolist() == [40_000] * 3
    assert batch.labels.shape == (3, TOKENS)
    assert batch.labels.unique().min() >= 3
    assert batch.labels.max() < 24
    assert (batch.labels[:, 1:] != batch.labels[:, :-1]).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "a processor's memory has no end to run into: give --memory, such as 4G, or --step-"),
        (["--memory", "4X"], "--memory is '4X', expected a size such as 4G or 512M"),
        (["--memory", "1G", "--step-seconds", "1"], "exclude each other"),
        (["--memory", "1G", "--model.init_args.gone", "1"], "gone"),
    ],
)
def test_wrong_usage(words: list[str], message: str, recipe: Path) -> None:
    done = buckets("--config", recipe, "--device", "cpu", *words)
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_recipes_without_buckets(tmp_path: Path) -> None:
    done = buckets("--config", RECIPES / "codec" / "echo-16k-tiny.yaml", "--memory", "1G")
    assert done.exit_code == 2
    assert "buckets are of ParaformerData, the recipe has CodecData" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--memory", "1M"], "not even one utterance of "),
        (["--memory", "1G", "--device", "tpu"], "unknown device 'tpu'"),
        (["--memory", "1G", "--data.init_args.train", '[{"path": "gone.jsonl"}]'], "gone.jsonl"),
        (["--step-seconds", "9", "--trainer.gradient_clip_algorithm", "shears"], "shears"),
    ],
)
def test_what_cannot_be_found(words: list[str], message: str, recipe: Path) -> None:
    done = buckets("--config", recipe, *words)
    assert done.exit_code == 1, done.output
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
