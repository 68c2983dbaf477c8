"""Folders that look like published data sets, with tones for speech, and the command over them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from typer.testing import CliRunner, Result

from echoic.audio.io import save
from echoic.recipes.cli import build_app

RATE = 8_000


def write_tone(path: Path, seconds: float = 0.1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, 0.3 * torch.sin(0.2 * torch.arange(round(seconds * RATE))), RATE)
    return path


def write_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_pairs(folder: Path, names: Sequence[str]) -> Path:
    for index, name in enumerate(names):
        write_tone(folder / f"{name}.wav", 0.1 + index / 100)
        write_text(folder / f"{name}.txt", f"number {index}\n")
    return folder


def prepare(*words: object) -> Result:
    line = ["prepare", *map(str, words)]
    result = CliRunner().invoke(build_app(line), line)
    assert result.exception is None or isinstance(result.exception, SystemExit), result
    return result


def read_rows(manifest: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
