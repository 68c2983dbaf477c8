"""Readers of the same recordings, in one process each: ours, and what a training has without it."""

# pyright: reportMissingImports=false

import importlib.util
import json
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile as sf
import torch
from benchmarks.data_ways import BUCKETS, RATE
from lengths import Lengths
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from echoic.asr.paraformer.training.datamodule import ParaformerData
from echoic.asr.paraformer.training.plan import BatchConfig
from echoic.audio.data.bucket_plan import BucketConfig
from echoic.audio.data.manifest import Source

RANDOM_SIZE = 8


class Loader(NamedTuple):
    """Reads each recording once; the call returns how many seconds it met."""

    name: str
    read: Callable[[], float]


class Corpus(NamedTuple):
    """Files of noise with a manifest."""

    manifest: Path
    files: tuple[Path, ...]
    seconds: float


def write_corpus(folder: Path, lengths: Lengths) -> Corpus:
    """Write FLAC files as long as told, with texts of as many letters."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows, samples = [], 0
    for number, (seconds, tokens) in enumerate(zip(*lengths, strict=True)):
        path = folder / f"{number}.flac"
        noise = np.clip(0.1 * rng.standard_normal((round(seconds * RATE),)), -1, 1)
        sf.write(path, noise, RATE)
        samples += len(noise)
        text = " ".join("ab"[place % 2] for place in range(int(tokens)))
        rows.append({"audio": path.name, "duration": len(noise) / RATE, "text": text})
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Corpus(manifest, tuple(folder / row["audio"] for row in rows), samples / RATE)


def echoic(corpus: Corpus, vocabulary: Path, batch_seconds: float, *, cache: bool) -> Loader:
    """Return our data module's loader, out of buckets."""
    data = ParaformerData(
        [Source(str(corpus.manifest))],
        str(vocabulary),
        batches=BatchConfig(batch_seconds),
        buckets=BucketConfig(*BUCKETS, max_sigma=100.0),
        cache=cache,
    )

    def read() -> float:
        met, seconds = 0, 0.0
        for batch in data.train_dataloader():
            met += len(batch.texts)
            seconds += float(batch.samples.sum()) / RATE
            if met >= len(corpus.files):
                break
        return seconds

    return Loader("echoic, in memory" if cache else "echoic", read)


class _Files(Dataset[Tensor]):
    """What everybody writes first."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(sf.read(self.files[index], dtype="float32")[0])


def _padded(wavs: list[Tensor]) -> tuple[Tensor, Tensor]:
    return pad_sequence(wavs, batch_first=True), torch.tensor([len(wav) for wav in wavs])


def plain(corpus: Corpus) -> Loader:
    """Return torch's loader over soundfile, with batches by chance."""
    files = _Files(corpus.files)

    def read() -> float:
        loader = DataLoader(files, RANDOM_SIZE, shuffle=True, collate_fn=_padded)
        return sum(float(lengths.sum()) for _, lengths in loader) / RATE

    return Loader("DataLoader on soundfile", read)


def lhotse(corpus: Corpus, batch_seconds: float) -> Loader | None:
    """Return Lhotse's sampler and reader, out of buckets of durations; None without it."""
    if importlib.util.find_spec("lhotse") is None:
        return None
    from lhotse import CutSet, Recording
    from lhotse.dataset import DynamicBucketingSampler
    from lhotse.dataset.collation import collate_audio

    class Sounds(Dataset[Any]):
        def __getitem__(self, cuts: Any) -> Any:
            return collate_audio(cuts)

    recordings = [Recording.from_file(path) for path in corpus.files]
    cuts = CutSet.from_cuts(recording.to_cut() for recording in recordings)
    turns = count()

    def read() -> float:
        sampler = DynamicBucketingSampler(
            cuts,
            max_duration=batch_seconds,
            num_buckets=min(BUCKETS[0], len(recordings) // 4),
            shuffle=True,
            seed=next(turns),
        )
        loader = DataLoader(Sounds(), sampler=sampler, batch_size=None)
        return sum(float(lengths.sum()) for _, lengths in loader) / RATE

    return Loader("lhotse", read)
