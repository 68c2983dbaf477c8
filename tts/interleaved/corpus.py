"""Interleaved corpora: lines that `echoic.tts.unified.training.example_file` reads.

The first line says what the codes mean and how all was made; each other line is a document:

    {"id": "a", "segments": [{"text": "It is ", "answer": true}, {"codes": [[3, 7], ...],
     "answer": true}, ...], "said": ["a fine day"], "words": 5, "spans": [3], "unspoken": 0}

While it grows it has another name; what was made by a run that was stopped is kept.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from echoic.tts.interleaved.documents import BadLine, TextDocument
from echoic.tts.interleaved.spans import SpanSettings, cut, draw_spans, seed_of, words_of
from echoic.tts.interleaved.speaker import TextToCodes


class Totals(NamedTuple):
    """What a corpus holds.

    Attributes:
        documents: how many.
        words: of them all.
        spoken: words that are codes.
        spans: of codes.
        unspoken: spans that stayed text, since they could not be spoken well.
        frames: of codes.
        kept: documents that an earlier run had made.
    """

    documents: int = 0
    words: int = 0
    spoken: int = 0
    spans: int = 0
    unspoken: int = 0
    frames: int = 0
    kept: int = 0

    def add(self, row: dict[str, Any]) -> "Totals":
        """Count a line."""
        return self._replace(
            documents=self.documents + 1,
            words=self.words + row["words"],
            spoken=self.spoken + sum(row["spans"]),
            spans=self.spans + len(row["spans"]),
            unspoken=self.unspoken + row["unspoken"],
            frames=self.frames + sum(len(part.get("codes", ())) for part in row["segments"]),
        )


def interleave(
    document: TextDocument, speaker: TextToCodes, settings: SpanSettings
) -> dict[str, Any]:
    """Return the line of a document; it depends on these three and on nothing else."""
    pieces = cut(document.text, draw_spans(len(words_of(document.text)), settings, document.key))
    spans = [text for text, words in pieces if words]
    seeds = [seed_of(settings.seed, document.key, number) for number in range(len(spans))]
    spoken = iter(speaker.speak(spans, seeds))
    segments: list[dict[str, Any]] = []
    said, lengths = [], []
    for text, words in pieces:
        frames = next(spoken) if words else None
        if frames is not None:
            segments.append({"codes": frames.tolist(), "answer": True})
            said.append(text)
            lengths.append(words)
        elif segments and "text" in segments[-1]:
            segments[-1]["text"] += text
        else:
            segments.append({"text": text, "answer": True})
    total = len(words_of(document.text))
    told = {"said": said, "words": total, "spans": lengths, "unspoken": len(spans) - len(said)}
    return {"id": document.key, "segments": segments, **told}


class Builder:
    """Writes a corpus, document by document.

    Args:
        out: the file; it appears when all is done.
        speaker: gives codes.
        settings: see there.
    """

    def __init__(self, out: Path, speaker: TextToCodes, settings: SpanSettings) -> None:
        self.out = out
        self.speaker = speaker
        self.settings = settings
        self.growing = out.with_name(f"{out.name}.part")
        self.totals = Totals()

    def build(self, documents: Iterable[TextDocument | BadLine]) -> Iterator[BadLine | None]:
        """Make what is not there yet.

        Args:
            documents: all of them, in the same order each time.

        Yields:
            None for each document, and each bad line.

        Raises:
            ValueError: there are no documents, or an earlier run had others, or other settings.
            OSError: the file cannot be written.
        """
        self.totals = Totals()
        known = self._kept()
        with self.growing.open("a", encoding="utf-8") as file:
            for document in documents:
                if isinstance(document, BadLine):
                    yield document
                    continue
                row = next(known, None)
                if row is None:
                    row = interleave(document, self.speaker, self.settings)
                    file.write(_line(row))
                    file.flush()
                else:
                    self._check(row, document)
                    self.totals = self.totals._replace(kept=self.totals.kept + 1)
                self.totals = self.totals.add(row)
                yield None
        if next(known, None) is not None:
            raise self._other()
        if not self.totals.documents:
            self.growing.unlink()
            raise ValueError("not one document to interleave: give texts, one a line")
        self.growing.replace(self.out)

    def _header(self) -> dict[str, Any]:
        made = {**asdict(self.settings), "by": self.speaker.print}
        return {**asdict(self.speaker.codes), "made": made}

    def _kept(self) -> Iterator[dict[str, Any]]:
        """Return the lines of an earlier run; a last one that was cut off is made anew."""
        header = json.loads(_line(self._header()))
        if not self.growing.exists():
            self.growing.write_text(_line(header), encoding="utf-8")
            return iter(())
        whole = 0
        with self.growing.open("rb+") as file:
            for line in file:
                whole += len(line) if line.endswith(b"\n") else 0
            file.truncate(whole)
        if not whole:
            self.growing.write_text(_line(header), encoding="utf-8")
            return iter(())
        rows = self._rows(whole)
        if next(rows) != header:
            raise ValueError(
                f"{self.growing} is of another model or of other settings: go on with those, or "
                "begin anew with --overwrite"
            )
        return rows

    def _rows(self, size: int) -> Iterator[dict[str, Any]]:
        read = 0
        with self.growing.open("rb") as file:
            while read < size:
                line = file.readline()
                read += len(line)
                try:
                    yield json.loads(line)
                except ValueError as e:
                    raise ValueError(
                        f"{self.growing} is damaged: begin anew with --overwrite"
                    ) from e

    def _check(self, row: dict[str, Any], document: TextDocument) -> None:
        if row.get("id") != document.key or row.get("words") != len(words_of(document.text)):
            raise self._other()

    def _other(self) -> ValueError:
        return ValueError(
            f"{self.growing} is of other texts: go on with those, or begin anew with --overwrite"
        )


def _line(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"
