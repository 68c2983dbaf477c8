"""The real `echoic train fit` in processes of its own, on a shipped recipe made small."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from paraformer_runs import MODEL, write_manifest, write_vocabulary
from speech_data import Utterance

ECHOIC = Path(sys.executable).with_name("echoic")
ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "paraformer" / "aishell1.yaml"


def callback(class_path: str, **init_args: Any) -> dict[str, Any]:
    return {"class_path": class_path, "init_args": init_args}


def checkpoints(every: int) -> dict[str, Any]:
    name = "lightning.pytorch.callbacks.ModelCheckpoint"
    return callback(name, every_n_train_steps=every, save_last=True)


def small(
    folder: Path,
    steps: int,
    callbacks: Sequence[Mapping[str, Any]],
    said: Sequence[Utterance] | None = None,
    **data: Any,
) -> Path:
    """What makes the recipe small, to be laid over it; `data` are fields of its data."""
    manifest = write_manifest(folder, said)
    vocabulary = write_vocabulary(folder / "tokens", said)
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
                "validation": [{"path": str(manifest), "split": "dev"}],
                "vocabulary": str(vocabulary),
                "num_workers": 0,
                **data,
            }
        },
        "trainer": {
            "max_steps": steps,
            "precision": "32-true",
            "accelerator": "cpu",
            "val_check_interval": steps,
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
            "default_root_dir": str(folder),
            "callbacks": list(callbacks),
        },
    }
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def start(config: Path, *words: str) -> subprocess.Popen[str]:
    """Start `echoic train fit` in the folder of what makes its recipe small."""
    command = [ECHOIC, "train", "fit", "--config", RECIPE, "--config", config, *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        list(map(str, command)),
        cwd=config.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for the end of a run that has to succeed."""
    _, errors = process.communicate()
    assert process.returncode == 0, errors
