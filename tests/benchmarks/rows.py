"""What is transcribed: single utterances with their texts, and long recordings joined from them."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from echoic.audio.io import load

SAMPLE_RATE = 16_000
DATA = Path(__file__).parents[1] / "data" / "manifest.jsonl"
PAUSE_SECONDS = (0.3, 1.2)
# Recordings are never digitally silent: 16-bit noise of two steps stands in the pauses.
PAUSE_NOISE = 2 / 32768


@dataclass(frozen=True, slots=True)
class Row:
    """A sound file, what is said in it, and its length in seconds."""

    audio: Path
    text: str
    seconds: float


def read_rows(manifest: Path | None, limit: int = 0, seed: int = 0) -> list[Row]:
    """Return the English rows of a manifest; None reads tests/data.

    Args:
        manifest: JSON lines with `audio`, relative to the manifest, and `text`.
        limit: draw this many rows, in their order; 0 takes all.
        seed: of the draw.

    Raises:
        ValueError: no row is left.
    """
    path = manifest or DATA
    values = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    english = [v for v in values if v.get("lang", "en") == "en" and not v.get("offset")]
    if limit and limit < len(english):
        chosen = sorted(random.Random(seed).sample(range(len(english)), limit))
        english = [english[i] for i in chosen]
    if not english:
        raise ValueError(f"{path} has no English row without an offset")
    files = [(path.parent / v["audio"]).resolve() for v in english]
    return [
        Row(file, v["text"], sf.info(file).duration) for file, v in zip(files, english, strict=True)
    ]


def join_rows(rows: Sequence[Row], path: Path, seconds: float, seed: int = 0) -> Row:
    """Write one long FLAC of utterances in random order with pauses between, piece by piece.

    Args:
        rows: spoken again in another order when they do not last.
        path: the file to write.
        seconds: the recording ends with the first utterance that reaches this length.
        seed: of order, pauses and noise.
    """
    noise = np.random.default_rng(seed)
    texts: list[str] = []
    written = 0
    with sf.SoundFile(path, "w", SAMPLE_RATE, 1, format="FLAC", subtype="PCM_16") as file:
        for row in _forever(rows, random.Random(seed)):
            pause = round(noise.uniform(*PAUSE_SECONDS) * SAMPLE_RATE)
            wav = load(row.audio, sample_rate=SAMPLE_RATE, mono=True).wav[0].numpy()
            file.write(PAUSE_NOISE * noise.standard_normal(pause))
            file.write(np.clip(wav, -1, 1))
            texts.append(row.text)
            written += pause + len(wav)
            if written >= seconds * SAMPLE_RATE:
                break
    return Row(path, " ".join(texts), written / SAMPLE_RATE)


def _forever(rows: Sequence[Row], order: random.Random) -> Iterator[Row]:
    while True:
        yield from order.sample(rows, len(rows))
