"""Measure the mean and deviation of Paraformer's features over manifests.

    python -m echoic.recipes.prepare.cmvn MANIFEST... OUT.json

A manifest is a path, optionally with conditions: `data/manifest.jsonl,split=train,lang=en`. OUT is
what a recipe names in `cmvn`; the model keeps the numbers with its weights.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from echoic.asr.paraformer.config import FrontendConfig
from echoic.asr.paraformer.frontend import Frontend
from echoic.asr.paraformer.training.build import Statistics, write_statistics
from echoic.audio.data.manifest import Source
from echoic.audio.data.recordings import Recording, find_recordings
from echoic.audio.errors import AudioDecodeError, error_line


def measure(recordings: Sequence[Recording], config: FrontendConfig) -> Statistics:
    """Return the statistics of the stacked features of some recordings.

    Raises:
        ValueError: there is no sound in them.
        OSError: a file is not there.
    """
    frontend = Frontend(config)
    count = 0
    total = torch.zeros(config.num_features, dtype=torch.float64)
    squares = torch.zeros_like(total)
    for recording in tqdm(recordings, unit="recording", disable=not sys.stderr.isatty()):
        try:
            wav = recording.load(config.sample_rate)[None]
        except AudioDecodeError as error:
            print(f"cmvn: left out: {error}", file=sys.stderr)
            continue
        features = frontend(wav)[0][0].double()
        count += len(features)
        total += features.sum(0)
        squares += features.square().sum(0)
    if count < 2:
        raise ValueError(f"{len(recordings)} recordings have {count} frames in all, expected more")
    mean = total / count
    return Statistics(mean, (squares / count - mean.square()).clamp(min=0).sqrt())


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="cmvn", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("manifests", nargs="+", metavar="MANIFEST")
    parser.add_argument("out", type=Path)
    parser.add_argument("--recordings", type=int, default=3000, help="how many to draw, at most")
    given = parser.parse_args(arguments)
    try:
        sources = [Source.parse(text) for text in given.manifests]
        recordings = [found for source in sources for found in find_recordings(source)]
        drawn = torch.randperm(len(recordings), generator=torch.Generator().manual_seed(0))
        config = FrontendConfig()
        drawn = drawn[: given.recordings].tolist()
        found = measure([recordings[i] for i in drawn], config)
        given.out.parent.mkdir(parents=True, exist_ok=True)
        write_statistics(given.out, found, config)
    except (OSError, ValueError) as error:
        print(f"cmvn: {error_line(error)}", file=sys.stderr)
        return 1
    print(f"{given.out}: {config.num_features} features of {len(drawn)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
