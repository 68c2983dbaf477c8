"""Give a trained codec more residual books, for a higher rate without more training.

    python -m echoic.recipes.prepare.codec_books CODEC MANIFEST... FOLDER --layers 24

The new books are centres (k-means) of what the old ones leave of the manifests' sound; the old
codes stay as they are, and `--n-q` still takes as few as you like. CODEC is a folder or a name, a
manifest is a path with conditions if you like: `data/manifest.jsonl,split=train`.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from echoic.audio.data.manifest import Source
from echoic.audio.data.recordings import Recording, find_recordings
from echoic.audio.errors import AudioDecodeError, error_line
from echoic.codecs.codec import Codec
from echoic.codecs.errors import CodecError
from echoic.codecs.quantize.extend import extend_quantizer
from echoic.codecs.quantize.quantizer import Quantizer
from echoic.codecs.registry import load_codec
from echoic.recipes.prepare.codec_box import DTYPES, with_quantizer


def extend(codec: Codec, recordings: Sequence[Recording], num_layers: int, vectors: int) -> Codec:
    """Return a codec with more residual layers.

    Args:
        codec: with our own quantizer.
        recordings: read until there are enough latents.
        num_layers: of the result.
        vectors: latents to take.

    Raises:
        ValueError: a quantizer of another kind, no more layers, or no sound.
    """
    if not isinstance(codec.quantizer, Quantizer):
        raise ValueError(f"{codec.kind} has a quantizer of its own kind, which stays as it is")
    latents = latents_of(codec, recordings, vectors)
    return with_quantizer(codec, extend_quantizer(codec.quantizer, latents, num_layers))


@torch.no_grad()
def latents_of(codec: Codec, recordings: Sequence[Recording], vectors: int) -> Tensor:
    """Return at least so many latents (N, D) of recordings, or those of all.

    Raises:
        ValueError: there is no sound in them.
    """
    found: list[Tensor] = []
    with tqdm(total=vectors, unit="latent", disable=not sys.stderr.isatty()) as bar:
        for recording in recordings:
            try:
                wav = recording.load(codec.sample_rate)[None]
            except AudioDecodeError as error:
                print(f"codec_books: left out: {error}", file=sys.stderr)
                continue
            frames = wav.shape[1] // codec.hop_length
            if frames:
                found.append(codec.encoder(wav[:, : frames * codec.hop_length])[0].T)
                bar.update(len(found[-1]))
            if sum(map(len, found)) >= vectors:
                break
    if not found:
        raise ValueError(f"{len(recordings)} recordings without a whole frame of sound")
    return torch.cat(found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="codec_books", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("codec", help="name, id or folder")
    parser.add_argument("manifests", nargs="+", metavar="MANIFEST")
    parser.add_argument("folder", type=Path, help="where the longer codec is written")
    parser.add_argument("--layers", type=int, required=True, help="residual layers in all")
    parser.add_argument("--vectors", type=int, default=50_000, help="latents to learn from")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="float16")
    parser.add_argument("--description", default="", help="a line for lists of models")
    given = parser.parse_args(arguments)
    try:
        codec = load_codec(given.codec)
        sources = [Source.parse(text) for text in given.manifests]
        recordings = [r for source in sources for r in find_recordings(source)]
        random.Random(0).shuffle(recordings)
        longer = extend(codec, recordings, given.layers, given.vectors)
        longer.save_pretrained(
            given.folder, dtype=DTYPES[given.dtype], description=given.description
        )
    except (CodecError, OSError, ValueError) as error:
        print(f"codec_books: {error_line(error)}", file=sys.stderr)
        return 1
    print(f"{given.folder}: {longer.num_codebooks} codes, {longer.bits_per_second():.0f} bit/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
