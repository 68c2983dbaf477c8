"""The documented command with two processes: as many steps in both, each with its own data."""

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml
from paraformer_runs import MODEL, write_manifest, write_vocabulary

from echoic.recipes.run_folder import find_run, read_lines

ECHOIC = Path(sys.executable).with_name("echoic")
ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "paraformer" / "aishell1.yaml"
STEPS = 3


def small(folder: Path) -> Path:
    """What makes the recipe small, to be laid over it."""
    manifest = write_manifest(folder)
    vocabulary = write_vocabulary(folder / "tokens")
    values = {
        "model": {
            "init_args": {
                "model": MODEL,
                "vocabulary": str(vocabulary),
                "cmvn": str(vocabulary / "cmvn.json"),
            }
        },
        "data": {
            "init_args": {
                "train": [{"path": str(manifest)}],
                "validation": [{"path": str(manifest)}],
                "vocabulary": str(vocabulary),
                "batches": {"seconds": 3.0},
                "num_workers": 0,
            }
        },
        "trainer": {
            "max_steps": STEPS,
            "precision": "32-true",
            "accelerator": "cpu",
            "val_check_interval": STEPS,
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
            "default_root_dir": str(folder),
            "callbacks": [
                {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                 "init_args": {"every_n_train_steps": STEPS, "save_last": True}},
                {"class_path": "seen_batches.SeenBatches", "init_args": {"folder": str(folder)}},
            ],
        },
    }  # fmt: skip
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_two_processes_on_disjoint_data(tmp_path: Path) -> None:
    command = [ECHOIC, "train", "fit", "--config", RECIPE, "--config", small(tmp_path),
               "--trainer.devices", "2", "--trainer.strategy", "ddp"]  # fmt: skip
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "tests"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        list(map(str, command)), env=environment, cwd=tmp_path, capture_output=True, text=True,
        timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"seen-{rank}.json").read_text()) for rank in (0, 1))
    assert first["processes"] == second["processes"] == 2
    assert first["steps"] == second["steps"] == STEPS
    assert first["numbers"] == [0, 2, 4]
    assert second["numbers"] == [1, 3, 5]
    # Batches of one pass have no utterance in common, in whichever process they are.
    texts = [text for seen in (first, second) for text in seen["texts"][0]]
    assert len(texts) == len(set(texts)) > 1
    assert first["weights"] == second["weights"]
    # One process keeps the record.
    folder = find_run(tmp_path).folder
    assert folder.name == "version_0"
    start, end = read_lines(folder / "run.jsonl")
    assert (start["processes"], end["step"]) == (2, STEPS)
    logged = [line["step"] for line in read_lines(folder / "metrics.jsonl") if "train/ctc" in line]
    assert logged == [0, 1, 2]
