"""Utterances whose tokens can be seen in their sound: each ends with a click of its own height."""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from echoic.asr.whisper.training.corpus import Utterance, write_utterance
from echoic.audio.write import save

RATE = 16_000
TEACHERS = 3


def click(token: int) -> float:
    """The height of a token's click: tokens 100 to 179 are told apart, and from noise."""
    return 0.1 + 0.01 * (token - 100)


def token_at(wav: Tensor, second: float, reach: float = 0.012) -> int | None:
    """Return the token whose click is near a second of the sound, or None."""
    middle = round(second * RATE)
    near = wav[max(0, middle - round(reach * RATE)) : middle + round(reach * RATE)]
    height = float(near.max()) if len(near) else 0.0
    return None if height < 0.09 else 100 + round((height - 0.1) / 0.01)


def clicking_utterance(
    folder: Path, name: str, seed: int, *, words: int = 6, speaker: str = "a"
) -> Utterance:
    """Write a sound and return its utterance: words of one to three tokens, 0.1 to 0.3 s each."""
    rng = random.Random(seed)
    tokens, starts, ends, word_of, at = [], [], [], [], 0.15
    for word in range(words):
        for _ in range(rng.randint(1, 3)):
            tokens.append(rng.randint(100, 179))
            starts.append(round(at, 3))
            at += rng.uniform(0.1, 0.3)
            ends.append(round(at, 3))
            word_of.append(word)
        at += rng.choice([0.0, 0.15])
    wav = torch.zeros(round((at + 0.2) * RATE))
    for token, end in zip(tokens, ends, strict=True):
        # Wide enough to keep its height when it is played faster.
        wav[round(end * RATE) - 6 : round(end * RATE) + 6] = click(token)
    save(folder / f"{name}.wav", wav[None], RATE)
    return Utterance(
        audio=f"{name}.wav",
        duration=round(len(wav) / RATE, 3),
        text=name,
        speaker=speaker,
        tokens=tuple(tokens),
        starts=tuple(starts),
        ends=tuple(ends),
        word_of=tuple(word_of),
        teacher_ids=tuple((t, t + 1, 7) for t in tokens),
        teacher_probs=tuple((0.7, 0.2, 0.05) for _ in tokens),
    )


def clicking_corpus(folder: Path, count: int = 4) -> list[Utterance]:
    """Utterances of two speakers."""
    return [
        clicking_utterance(folder, f"u{seed}", seed, words=3 + seed, speaker="ab"[seed % 2])
        for seed in range(count)
    ]


def write_corpus(path: Path, utterances: Sequence[Utterance]) -> Path:
    """Write an aligned manifest."""
    with path.open("w", encoding="utf-8") as file:
        for utterance in utterances:
            write_utterance(file, utterance)
    return path
