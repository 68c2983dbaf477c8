"""Make the manifest of a part of AISHELL-1 (`data_aishell`, unpacked, the speakers' archives too).

    python -m echoic.recipes.prepare.aishell data_aishell train OUT.jsonl

OUT gets a line for each utterance: audio (path relative to OUT), id, text, lang, speaker, duration
(s). Some recordings have no transcript; they are passed over.
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

PARTS = ("train", "dev", "test")


def transcripts(folder: Path) -> dict[str, str]:
    """Return the texts, without the spaces between their words, by the names of the recordings.

    Raises:
        ValueError: no transcripts there, or a line that is none.
    """
    files = sorted((folder / "transcript").glob("*.txt"))
    if not files:
        raise ValueError(f"{folder} has no transcript/*.txt; expected the folder data_aishell")
    found: dict[str, str] = {}
    for path in files:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            name, *words = line.split()
            if not words:
                raise ValueError(f"{path}, line {number}: expected NAME TEXT")
            found[name] = "".join(words)
    return found


def rows(folder: Path, part: str) -> Iterator[dict[str, Any]]:
    """Yield id, text, speaker and the path of the sound of each utterance, in order.

    Raises:
        ValueError: no transcripts, or no recordings of this part.
    """
    texts = transcripts(folder)
    recordings = sorted((folder / "wav" / part).rglob("*.wav"))
    if not recordings:
        raise ValueError(f"{folder}: no recordings in wav/{part}; unpack the speakers' archives")
    for audio in recordings:
        name = audio.stem
        if name in texts:
            yield {"audio": audio, "id": name, "text": texts[name], "speaker": audio.parent.name}


def write_manifest(folder: Path, part: str, out: Path) -> tuple[int, float]:
    """Write the manifest under a temporary name and move it; return utterances and seconds.

    Raises:
        ValueError, OSError: see `rows`; or a sound that cannot be read.
    """
    count, seconds = 0, 0.0
    temporary = out.with_name(out.name + ".part")
    out.parent.mkdir(parents=True, exist_ok=True)
    with temporary.open("w", encoding="utf-8") as file:
        for row in tqdm(rows(folder, part), unit="utterance", disable=not sys.stderr.isatty()):
            duration = info(row["audio"]).duration
            if duration is None:
                raise ValueError(f"{row['audio']} does not tell its length; unpack it again")
            audio = os.path.relpath(row["audio"], out.parent)
            line = row | {"audio": audio, "lang": "zh", "duration": round(duration, 3)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            count, seconds = count + 1, seconds + duration
    temporary.replace(out)
    return count, seconds


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="aishell", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("out", type=Path)
    given = parser.parse_args(arguments)
    try:
        count, seconds = write_manifest(given.folder, given.part, given.out)
    except (OSError, ValueError) as error:
        print(f"aishell: {error}", file=sys.stderr)
        return 1
    print(f"{given.out}: {count} utterances, {seconds / 3600:.2f} hours")
    return 0


if __name__ == "__main__":
    sys.exit(main())
