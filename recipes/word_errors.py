r"""Word errors of a recogniser on a manifest, and how many fewer an adapter of a language makes.

    python -m echoic.recipes.word_errors MANIFEST --model base --lang es --split test \
        [--language-adapter DIR]

MANIFEST is JSON Lines with `audio` (relative to the file) and `text`. With an adapter all is heard
twice; the gain's interval is of the pairs, which says more than two intervals of rates. Needs
`pip install 'echoic[metrics]'`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from echoic.asr.errors import CheckpointError
from echoic.asr.metrics import ErrorRate, Interval, fewer_errors, word_error_rate
from echoic.asr.options import TranscribeOptions
from echoic.asr.text.normalizers import for_language
from echoic.asr.transcriber import Transcriber
from echoic.audio.data.manifest import Source, rows_of
from echoic.audio.data.recordings import Recording
from echoic.audio.errors import AudioDecodeError, one_line

SAMPLE_RATE = 16_000


@dataclass(frozen=True, slots=True)
class Told:
    """A recording, and what it says.

    Attributes:
        wav: (T,) at 16 kHz.
        text: of it.
    """

    wav: Tensor
    text: str


def read(source: Source, limit: int | None = None) -> list[Told]:
    """Return the recordings of a manifest that have a text.

    Raises:
        ValueError: a line is no row, or there is none with a text.
        AudioDecodeError, OSError: a recording or the manifest cannot be read.
    """
    found: list[Told] = []
    for row in rows_of(source):
        if limit is not None and len(found) >= limit:
            break
        if text := str(row.values.get("text") or ""):
            recording = Recording(row.audio, row.duration, row.offset)
            found.append(Told(recording.load(SAMPLE_RATE), text))
    if not found:
        raise ValueError(f"{source.path} has no row with a text that was asked for")
    return found


def measure(told: Sequence[Told], transcriber: Transcriber, language: str) -> ErrorRate:
    """Recognise recordings one after the other, without looking for speech in them first."""
    options = TranscribeOptions(language=language, vad=False)
    heard = [transcriber.transcribe(t.wav, options, sample_rate=SAMPLE_RATE).text for t in told]
    return word_error_rate([t.text for t in told], heard, for_language(language))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit code 1 when something cannot be read."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("manifest")
    parser.add_argument("--model", default="base", help="Whisper: name, id or folder")
    parser.add_argument("--lang", default="en", help="of the rows to take, and told to the model")
    parser.add_argument("--split", help="only rows of it")
    parser.add_argument("--language-adapter", help="folder of an adapter to compare with")
    parser.add_argument("--limit", type=int, help="recordings, the first ones")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    given = parser.parse_args(arguments)
    gain: Interval | None = None
    rates: dict[str, ErrorRate] = {}
    try:
        told = read(Source(given.manifest, split=given.split, lang=given.lang), given.limit)
        # Not "auto": what that picks depends on the machine and its load, and with it some words.
        plain = Transcriber.from_pretrained(given.model, dtype="float32")
        rates["model"] = measure(told, plain, given.lang)
        if given.language_adapter is not None:
            adapted = Transcriber.from_pretrained(
                given.model, dtype="float32", language_adapters=[given.language_adapter]
            )
            rates["adapter"] = measure(told, adapted, given.lang)
            gain = fewer_errors(rates["model"], rates["adapter"])
    except (AudioDecodeError, CheckpointError, ImportError, OSError, ValueError) as error:
        print(f"word_errors: {one_line(str(error))}", file=sys.stderr)
        return 1
    print(_table(rates, gain))
    if given.json is not None:
        numbers = {
            "wer": {name: rate.rate for name, rate in rates.items()},
            "recordings": len(told),
            "words": rates["model"].num_words,
            "fewer": gain,
        }
        given.json.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    return 0


def _table(rates: dict[str, ErrorRate], gain: Interval | None) -> str:
    lines = []
    for name, rate in rates.items():
        low, high = rate.interval()
        lines.append(f"{name:8} {100 * rate.rate:5.1f} % ({100 * low:.1f} to {100 * high:.1f})")
    if gain is not None:
        lines.append(f"fewer by {100 * gain.low:.1f} to {100 * gain.high:.1f} points (95 %)")
    first = rates["model"]
    return "\n".join([*lines, f"{len(first.utterances)} recordings, {first.num_words} words"])


if __name__ == "__main__":
    sys.exit(main())
