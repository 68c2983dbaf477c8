"""Word errors of recognised speech that went through a codec, beside those of the original.

    python -m echoic.recipes.codec_words MANIFEST --model echo-16k-tiny --n-q 8 --limit 50

MANIFEST is JSON Lines with `audio` (relative to the file) and `text`. A codec that keeps speech
intelligible adds few errors; the loss that it was trained with says little about that. Needs
`pip install 'echoic[metrics]'`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from echoic.asr.batch.inputs import Finder
from echoic.asr.errors import CheckpointError
from echoic.asr.metrics import ErrorRate, word_error_rate
from echoic.asr.stream_rows import Row
from echoic.asr.text.normalizers import for_language
from echoic.asr.transcriber import Transcriber
from echoic.audio.errors import AudioDecodeError
from echoic.audio.io import AUDIO_SUFFIXES, load
from echoic.codecs.codec import Codec
from echoic.codecs.errors import CodecError
from echoic.codecs.registry import load_codec


@dataclass(frozen=True, slots=True)
class CodecWords:
    """Word errors of one test set.

    Attributes:
        original: of the recordings.
        coded: of their reconstructions, by codes a frame.
        bits_per_second: of each.
    """

    original: ErrorRate
    coded: dict[int, ErrorRate]
    bits_per_second: dict[int, float]


def read_rows(manifest: Path) -> list[Row]:
    """Return the recordings of a manifest.

    Raises:
        OSError: it is not there.
        ValueError: lines that are no recordings with a text, or none that are.
    """
    if not manifest.is_file():
        raise FileNotFoundError(f"{manifest}: no such file; name a manifest (.jsonl)")
    listing = Finder(AUDIO_SUFFIXES).find([str(manifest)])
    if listing.problems or not listing.sources:
        raise ValueError(
            ": ".join(listing.problems[0]) if listing.problems else f"{manifest}: empty"
        )
    return [Row.from_source(source) for source in listing.sources]


def through_codec(codec: Codec, row: Row, books: Sequence[int]) -> dict[int, Tensor]:
    """Return a recording (T,) at the codec's rate as each number of codes a frame has it."""
    wav = load(
        row.path,
        sample_rate=codec.sample_rate,
        mono=True,
        offset=row.offset,
        duration=row.duration,
    ).wav
    codes = codec.encode(wav)
    return {n: codec.decode(codes.codes[:, :n], codes.lengths)[0] for n in books}


def measure(
    rows: Sequence[Row], codec: Codec, transcriber: Transcriber, books: Sequence[int]
) -> CodecWords:
    """Recognise each recording and its reconstructions.

    Raises:
        AudioDecodeError, OSError: a recording cannot be read.
        ValueError: recordings of several languages, or none.
    """
    languages = {row.language or "en" for row in rows}
    if len(languages) != 1:
        raise ValueError(f"recordings are in {sorted(languages) or 'no language'}, expected one")
    normalizer = for_language(languages.pop())
    said = [row.text for row in rows]
    heard: list[str] = []
    coded: dict[int, list[str]] = {n: [] for n in books}
    for row in rows:
        heard.append(transcriber.transcribe(row.load(), sample_rate=16_000).text)
        for n, wav in through_codec(codec, row, books).items():
            coded[n].append(transcriber.transcribe(wav, sample_rate=codec.sample_rate).text)
    return CodecWords(
        word_error_rate(said, heard, normalizer),
        {n: word_error_rate(said, texts, normalizer) for n, texts in coded.items()},
        {n: codec.bits_per_second(n) for n in books},
    )


def table(words: CodecWords) -> str:
    """Return a table: bits a second, word errors, and how many more than the original has."""
    lines = [f"{'codes':>8} {'bit/s':>8} {'WER %':>7} {'more':>6}"]
    base = words.original
    lines.append(f"{'original':>8} {'':>8} {100 * base.rate:7.1f} {'':>6}")
    for n, errors in words.coded.items():
        more = 100 * (errors.rate - base.rate)
        lines.append(
            f"{n:8d} {words.bits_per_second[n]:8.0f} {100 * errors.rate:7.1f} {more:+6.1f}"
        )
    lines.append(f"{len(base.utterances)} recordings, {base.num_words} words")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit code 1 when something cannot be read."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", default="echo-16k-tiny", help="codec: name, id or folder")
    parser.add_argument("--n-q", default="", help="codes a frame, such as 4,8; all of them if left")
    parser.add_argument("--recognizer", default="tiny.en", help="Whisper model")
    parser.add_argument("--limit", type=int, help="recordings, the first ones")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    options = parser.parse_args(arguments)
    try:
        rows = read_rows(options.manifest)[: options.limit]
        codec = load_codec(options.model)
        books = [int(n) for n in options.n_q.split(",")] if options.n_q else [codec.num_codebooks]
        for n in books:
            codec.check_n_q(n)
        # Not "auto": what that picks depends on the machine and its load, and with it some words.
        recognizer = Transcriber.from_pretrained(options.recognizer, dtype="float32")
        words = measure(rows, codec, recognizer, books)
    except (AudioDecodeError, CheckpointError, CodecError, OSError, ValueError) as error:
        print(f"codec_words: {error}", file=sys.stderr)
        return 1
    print(table(words))
    if options.json:
        numbers = {
            "model": str(options.model),
            "original": words.original.rate,
            "coded": {str(n): errors.rate for n, errors in words.coded.items()},
            "recordings": len(rows),
            "words": words.original.num_words,
        }
        options.json.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
