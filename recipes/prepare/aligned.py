"""Align a manifest for the training of a causal Whisper.

    python -m echoic.recipes.prepare.aligned MANIFEST OUT [--labels best] [--where split=train]

Each line of OUT holds an utterance's tokens, when they are spoken, and what the offline model
expects there. Labels: `transcript` as the manifest has it; `teacher` what the offline model hears,
so that recordings without text train too; `best` the teacher's spelling where its words are those
of the transcript, else the transcript. Lines that OUT has already are kept; a last one that was cut
off is made again.

Token times come from the offline model's cross-attention; with `--textgrids FOLDER` from the words
of NAME.TextGrid for each recording NAME, as forced aligners write them, where these are the words
of the label.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from echoic.asr.options import TranscribeOptions
from echoic.asr.text.normalizers import Normalizer, for_language
from echoic.asr.transcriber import Transcriber
from echoic.asr.whisper.model import WhisperModel
from echoic.asr.whisper.training.alignment import TextAligner
from echoic.asr.whisper.training.corpus import Utterance, read_corpus, write_utterance
from echoic.asr.whisper.training.textgrid import find_textgrids, read_textgrid
from echoic.audio.errors import error_line
from echoic.audio.io import load

SAMPLE_RATE = 16_000
LONGEST = 29.0
SHORTEST = 0.3


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="tiny.en", help="the offline teacher")
    parser.add_argument("--language", default="en")
    parser.add_argument("--labels", choices=("best", "transcript", "teacher"), default="best")
    parser.add_argument(
        "--where", action="append", default=[], type=_condition, metavar="FIELD=VALUE"
    )
    parser.add_argument(
        "--min-logprob", type=float, default=-2.0, help="drop texts the teacher cannot believe"
    )
    parser.add_argument("--textgrids", type=Path, metavar="FOLDER", help="forced alignments")
    arguments = parser.parse_args()
    try:
        kept, dropped = prepare(arguments)
    except (ImportError, OSError, ValueError) as e:
        sys.exit(f"aligned: {error_line(e)}")
    print(f"{arguments.out}: {kept} utterances, {dropped} left out", file=sys.stderr)


def prepare(arguments: argparse.Namespace) -> tuple[int, int]:
    """Write the lines that are missing; return how many there are, and how many were left out."""
    rows = list(_rows(arguments.manifest, dict(arguments.where)))
    mend(arguments.out)
    done = {u.audio for u in read_corpus(arguments.out)} if arguments.out.exists() else set()
    maker = _Maker(arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    dropped = 0
    with arguments.out.open("a", encoding="utf-8") as file:
        for row in tqdm(rows, unit="utterance", disable=not sys.stderr.isatty()):
            audio = os.path.relpath(arguments.manifest.parent / row["audio"], arguments.out.parent)
            if audio in done:
                continue
            utterance = maker.make(arguments.manifest.parent / row["audio"], audio, row)
            if utterance is None:
                dropped += 1
            else:
                write_utterance(file, utterance)
                file.flush()
    maker.tell()
    return len(rows) - dropped, dropped


def mend(manifest: Path) -> None:
    """Take off a last line that was cut off when its writer was stopped."""
    if not manifest.exists():
        return
    with manifest.open("r+b") as file:
        lines = file.read()
        whole = lines.rfind(b"\n") + 1
        if whole < len(lines):
            file.truncate(whole)
            print(f"{manifest}: its last line was cut off and is made again", file=sys.stderr)


def _condition(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not FIELD=VALUE, such as split=train")
    return name, value


def _rows(manifest: Path, where: dict[str, str]) -> Iterator[dict[str, Any]]:
    with manifest.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                row["audio"]
            except (ValueError, KeyError, TypeError) as e:
                raise ValueError(f"line {number} is no JSON object with a field audio") from e
            if all(str(row.get(name)) == value for name, value in where.items()):
                yield row


class _Maker:
    """Turns rows of a manifest into aligned utterances."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.model = WhisperModel.from_pretrained(arguments.model)
        multilingual = self.model.generation.is_multilingual
        self.language = arguments.language
        self.aligner = TextAligner(self.model, language=self.language if multilingual else None)
        self.transcriber = Transcriber(self.model)
        self.options = TranscribeOptions(
            language=self.language, vad=False, timestamps=False, temperatures=(0.0,)
        )
        self.labels, self.min_logprob = arguments.labels, arguments.min_logprob
        self.normalize: Normalizer = for_language(self.language)
        folder = arguments.textgrids
        self.textgrids = None if folder is None else find_textgrids(folder)
        self.forced = self.attended = 0

    def make(self, path: Path, audio: str, row: dict[str, Any]) -> Utterance | None:
        """Return the utterance, or None where it cannot be used."""
        try:
            wav = load(path, sample_rate=SAMPLE_RATE, mono=True)[0][0]
        except (OSError, ValueError) as e:
            print(f"{path}: {e}", file=sys.stderr)
            return None
        seconds = len(wav) / SAMPLE_RATE
        if not SHORTEST <= seconds <= LONGEST:
            return None
        text = self._label(wav, clean(str(row.get("text") or "")))
        if not text:
            return None
        try:
            grid = (self.textgrids or {}).get(path.stem)
            aligned = self.aligner(wav, text, None if grid is None else read_textgrid(grid))
        except ValueError as e:  # more text than anybody says in so short a time, no TextGrid
            print(f"{path}: {e}", file=sys.stderr)
            return None
        if aligned.avg_logprob < self.min_logprob:
            return None
        self.forced += aligned.forced
        self.attended += not aligned.forced
        return Utterance.of(audio, seconds, text, str(row.get("speaker", "")), aligned)

    def tell(self) -> None:
        """Say whose times the new utterances have, if any were to be a forced aligner's."""
        if self.textgrids is not None:
            print(
                f"word times of {self.forced} utterances by TextGrid, of {self.attended} by "
                "cross-attention (no TextGrid, or other words in it)",
                file=sys.stderr,
            )

    def _label(self, wav: Tensor, transcript: str) -> str:
        if self.labels == "transcript":
            return transcript
        with torch.inference_mode():
            heard = self.transcriber.transcribe(wav, self.options, sample_rate=SAMPLE_RATE).text
        agrees = self.normalize(heard) == self.normalize(transcript)
        return heard.strip() if self.labels == "teacher" or agrees else transcript


def clean(text: str) -> str:
    """Return a transcript in Whisper's spelling: no stress in capitals, no trailing dots.

    "...but I'm TOO BUSY" becomes "but I'm too busy.": capitals and dots are how game scripts note
    stress and breath, which no recogniser should have to guess.
    """
    text = re.sub(r"[*_~<>\[\]{}|]", " ", text).replace("…", "...")
    text = re.sub(r"^[\s.]+", "", text)
    text = re.sub(r"\.{2,}\s*$", ".", text)
    text = re.sub(r"\s*\.{2,}\s*", ", ", text)
    text = re.sub(r"\s+-+\s+", ", ", text)
    text = re.sub(r"\b[A-Z][A-Z']+\b", lambda m: _calm(m[0]), text)
    text = re.sub(r"\s+", " ", text).strip()
    return text[:1].upper() + text[1:]


def _calm(word: str) -> str:
    if word.startswith("I'"):
        return "I" + word[1:].lower()
    return word.lower()


if __name__ == "__main__":
    main()
