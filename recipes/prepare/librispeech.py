"""Make a manifest of a LibriSpeech folder, or of any in its form (LibriTTS has another).

    python -m echoic.recipes.prepare.librispeech LibriSpeech/train-clean-100 OUT.jsonl

OUT gets a line for each utterance: audio (path relative to OUT), id, text, lang, speaker, duration
(s). Texts are in capitals without marks, as published.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from echoic.audio.io import info


def rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield id, text, speaker and the path of the sound of each utterance, in order.

    Raises:
        ValueError: no transcripts there, or a line of one that is none; names file and line.
        FileNotFoundError: an utterance without its sound.
    """
    transcripts = sorted(folder.rglob("*.trans.txt"))
    if not transcripts:
        raise ValueError(
            f"{folder}: no *.trans.txt; expected a LibriSpeech subset such as train-clean-100"
        )
    for path in transcripts:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            name, _, text = line.partition(" ")
            if not text.strip() or name.count("-") != 2:
                raise ValueError(f"{path}, line {number}: expected SPEAKER-CHAPTER-NUMBER TEXT")
            audio = path.parent / f"{name}.flac"
            if not audio.is_file():
                raise FileNotFoundError(f"{audio} is not there; unpack the archive again")
            yield {"audio": audio, "id": name, "text": text.strip(), "speaker": name.split("-")[0]}


def write_manifest(folder: Path, out: Path) -> tuple[int, float]:
    """Write the manifest under a temporary name and move it; return utterances and seconds.

    Raises:
        ValueError, OSError: see `rows`; or a sound that cannot be read.
    """
    count, seconds = 0, 0.0
    part = out.with_name(out.name + ".part")
    out.parent.mkdir(parents=True, exist_ok=True)
    with part.open("w", encoding="utf-8") as file:
        for row in tqdm(rows(folder), unit="utterance", disable=not sys.stderr.isatty()):
            duration = info(row["audio"]).duration
            if duration is None:
                raise ValueError(f"{row['audio']} does not tell its length; unpack it again")
            audio = os.path.relpath(row["audio"], out.parent)
            line = row | {"audio": audio, "lang": "en", "duration": round(duration, 3)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            count, seconds = count + 1, seconds + duration
    part.replace(out)
    return count, seconds


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="librispeech", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args(arguments)
    try:
        count, seconds = write_manifest(given.folder, given.out)
    except (OSError, ValueError) as error:
        print(f"librispeech: {error}", file=sys.stderr)
        return 1
    print(f"{given.out}: {count} utterances, {seconds / 3600:.2f} hours")
    return 0


if __name__ == "__main__":
    sys.exit(main())
