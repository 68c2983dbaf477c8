"""Give recordings without text the text that a model hears, where it is sure: noisy student.

    echoic prepare pseudo-labels MANIFEST OUT --lang es --model small

MANIFEST is JSON Lines; its rows in the language, or of none, that have no text are heard by the
teacher, and those that are believed are written to OUT, with `confidence` and `teacher`. What was
heard is kept in OUT.heard, so that a run that was stopped goes on, and another --min-confidence
needs no hearing again; what was left out, and why, is in OUT.dropped. The student is to learn from
changed sound (`augment` and `spec_augment` of its recipe), or it would learn nothing new.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from echoic.asr.batch.engine import BatchTranscriber
from echoic.asr.errors import CheckpointError
from echoic.asr.languages import language_code
from echoic.asr.options import TranscribeOptions
from echoic.asr.source import Source
from echoic.audio.data.manifest import Row, rows_of, write_manifest, writing
from echoic.audio.data.manifest import Source as ManifestSource
from echoic.audio.errors import error_line, one_line
from echoic.recipes.prepare.confidence import REASONS, Bounds, Heard

Load = Callable[[], BatchTranscriber[Any]]

_DEFAULTS = Bounds()


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be heard, by whom, and where it goes.

    Attributes:
        manifest: of the recordings.
        out: manifest to write.
        teacher: name of the model, kept with each text.
        language: code of the speech.
        split: rows of this `split` only; None for all.
        relabel: hear rows that have a text, too, and replace it.
        bounds: what is believed.
        beam_size: of the teacher.
        batch_size: recordings heard together.
    """

    manifest: Path
    out: Path
    teacher: str
    language: str
    split: str | None = None
    relabel: bool = False
    bounds: Bounds = _DEFAULTS
    beam_size: int = 1
    batch_size: int = 16

    @property
    def heard_file(self) -> Path:
        """What was heard of each recording, a line each."""
        return self.out.with_name(f"{self.out.name}.heard")

    @property
    def dropped_file(self) -> Path:
        """What was left out."""
        return self.out.with_name(f"{self.out.name}.dropped")

    @property
    def told(self) -> dict[str, Any]:
        """What shapes the texts: the first line of `heard_file`."""
        return {"teacher": self.teacher, "lang": self.language, "beam_size": self.beam_size}

    @property
    def options(self) -> TranscribeOptions:
        """How the teacher listens: once and greedily, so that confidences compare."""
        return TranscribeOptions(
            language=self.language,
            beam_size=self.beam_size,
            timestamps=False,
            vad=False,
            temperatures=(0.0,),
        )


class Outcome(NamedTuple):
    """What became of the rows.

    Attributes:
        kept: rows of OUT.
        seconds: how long they are.
        dropped: how many were left out, by reason.
        bad: a line for each recording that cannot be read.
    """

    kept: int
    seconds: float
    dropped: Counter[str]
    bad: list[str]


def label(job: Job, load: Load) -> Outcome:
    """Hear what was not heard yet, and write what is believed.

    Args:
        job: see `Job`.
        load: returns the teacher; called if there is anything to hear.

    Raises:
        ValueError: no recordings to hear, or OUT.heard is of another teacher.
        CheckpointError: no such teacher.
        OSError: a file cannot be read or written.
    """
    rows = _rows(job)
    heard = _read_heard(job)
    new = [key for key in rows if key not in heard and not _long(rows[key], job)]
    if new:
        heard |= _hear(job, {key: rows[key] for key in new}, load())
    return _write(job, rows, heard)


def _rows(job: Job) -> dict[str, Row]:
    if job.out.resolve() == job.manifest.resolve():
        raise ValueError(f"{job.out} is the manifest itself; write to another file")
    rows: dict[str, Row] = {}
    for row in rows_of(ManifestSource(str(job.manifest), split=job.split)):
        told = str(row.values.get("text") or "").strip()
        if row.values.get("lang") in (None, "", job.language) and (job.relabel or not told):
            rows[_key(row)] = row
    if not rows:
        raise ValueError(
            f"{job.manifest} has no rows of {job.language} without text; name another, or "
            "--relabel to hear those with text, too"
        )
    return rows


def _key(row: Row) -> str:
    return f"{row.values.get('id') or row.audio}@{row.offset or 0:g}"


def _long(row: Row, job: Job) -> bool:
    return (row.duration or 0.0) > job.bounds.seconds


def _read_heard(job: Job) -> dict[str, dict[str, Any]]:
    """Return what was heard before, by key; a last line that was cut off is heard again."""
    path = job.heard_file
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(job.told) + "\n", encoding="utf-8")
        return {}
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        path.write_bytes(whole)
    try:
        first, *lines = [json.loads(line) for line in whole.splitlines()]
        found = {line["key"]: line for line in lines}
    except (ValueError, KeyError, TypeError) as e:
        raise ValueError(f"{path} is damaged; remove it, to hear all anew") from e
    if first != job.told:
        raise ValueError(
            f"{path} is what {first.get('teacher')} heard, by other options than now; remove it, "
            "or write to another file"
        )
    return found


def _hear(
    job: Job, rows: dict[str, Row], teacher: BatchTranscriber[Any]
) -> dict[str, dict[str, Any]]:
    """Hear recordings and write each down at once."""
    sources = (
        # Without an offset, a duration describes the file and cuts nothing off.
        Source(
            key,
            str(row.audio),
            key,
            row.offset or 0.0,
            row.duration if row.offset is not None else None,
        )
        for key, row in rows.items()
    )
    outcomes = teacher.transcribe_many(
        sources, job.options, batch_size=job.batch_size, on_progress=None
    )
    found: dict[str, dict[str, Any]] = {}
    quiet = not sys.stderr.isatty()
    with job.heard_file.open("a", encoding="utf-8") as file:
        for outcome in tqdm(outcomes, total=len(rows), unit="recording", disable=quiet):
            line: dict[str, Any] = {"key": outcome.source.key}
            if outcome.transcript is None:
                # Not written down: it may be mended before the next run.
                found[outcome.source.key] = line | {"error": one_line(str(outcome.error))}
                continue
            line |= Heard.of(outcome.transcript)._asdict()
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            found[outcome.source.key] = line
    return found


def _write(job: Job, rows: dict[str, Row], heard: dict[str, dict[str, Any]]) -> Outcome:
    kept: list[Row] = []
    dropped: list[dict[str, Any]] = []
    bad: list[str] = []
    for key, row in rows.items():
        line = heard.get(key, {})
        reason, facts = _judge(job, row, line)
        if reason is None and facts is not None:
            kept.append(_labelled(job, row, facts))
            continue
        if "error" in line:
            bad.append(str(line["error"]))
        dropped.append({**line, "key": key, "reason": reason})
    with writing(job.dropped_file) as file:
        for line in dropped:
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
    write_manifest(job.out, kept)
    seconds = sum(float(row.values["duration"]) for row in kept)
    counts = Counter(str(line["reason"]) for line in dropped)
    return Outcome(len(kept), seconds, counts, bad)


def _judge(job: Job, row: Row, line: dict[str, Any]) -> tuple[str | None, Heard | None]:
    if "error" in line:
        return "cannot be read", None
    if _long(row, job) or not line or line["seconds"] > job.bounds.seconds:
        return "too long", None
    facts = Heard(**{name: line[name] for name in Heard._fields})
    return job.bounds.reason(facts), facts


def _labelled(job: Job, row: Row, heard: Heard) -> Row:
    values = {
        **row.values,
        "duration": row.duration or heard.seconds,
        "text": heard.text,
        "lang": job.language,
        "confidence": heard.confidence,
        "teacher": job.teacher,
    }
    return row._replace(values=values)


def summary(job: Job, outcome: Outcome) -> Iterator[str]:
    """Yield what to print: what was kept, and what was dropped, a line for each reason."""
    yield f"{one_line(str(job.out))}: {outcome.kept} rows, {outcome.seconds / 3600:.2f} hours"
    for reason in REASONS:
        if outcome.dropped[reason]:
            yield f"  left out, {reason}: {outcome.dropped[reason]}"
    if outcome.dropped:
        yield f"  all of them in {one_line(str(job.dropped_file))}"


def main(
    arguments: Sequence[str] | None = None,
    prog: str = "python -m echoic.recipes.prepare.pseudo_labels",
) -> int:
    """Run the command, which its help calls `prog`; returns the exit code."""
    given = _arguments(arguments, prog)

    def load() -> BatchTranscriber[Any]:
        from echoic.asr.transcriber import Transcriber

        return Transcriber.from_pretrained(given.model, device=given.device, dtype=given.dtype)

    try:
        slowest, fastest = given.characters_per_second
        bounds = Bounds(
            given.min_confidence, given.max_no_speech, given.max_compression,
            slowest, fastest, given.longest,
        )  # fmt: skip
        job = Job(
            given.manifest, given.out, given.model, language_code(given.lang), given.split,
            given.relabel, bounds, given.beam_size, given.batch_size,
        )  # fmt: skip
        if given.overwrite:
            job.heard_file.unlink(missing_ok=True)
        outcome = label(job, load)
    except (CheckpointError, OSError, ValueError) as e:
        return _fail([error_line(e)])
    for line in summary(job, outcome):
        print(line)
    return _fail(outcome.bad) if outcome.bad else 0


def _fail(lines: Iterable[str]) -> int:
    for line in lines:
        print(f"pseudo-labels: {one_line(line)}", file=sys.stderr)
    return 1


def _arguments(arguments: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("manifest", type=Path, metavar="MANIFEST")
    add("out", type=Path, metavar="OUT")
    add("--lang", required=True, metavar="CODE", help="of the speech, such as es")
    add("--model", required=True, metavar="TEACHER", help="name in the box, id or folder")
    add("--split", metavar="NAME", help="rows of this split only")
    add("--relabel", action="store_true", help="hear rows with a text, too, and replace it")
    add("--min-confidence", type=float, default=_DEFAULTS.confidence, metavar="P",
        help="geometric mean of the tokens' probabilities (%(default)s)")  # fmt: skip
    add("--max-no-speech", type=float, default=_DEFAULTS.no_speech, metavar="P")
    add("--max-compression", type=float, default=_DEFAULTS.compression, metavar="RATIO")
    pace = (_DEFAULTS.slowest, _DEFAULTS.fastest)
    add("--characters-per-second", type=_range, metavar="LOW:HIGH", default=pace,
        help="pace that is believed (2:30)")  # fmt: skip
    add("--longest", type=float, default=_DEFAULTS.seconds, metavar="SECONDS")
    add("--beam-size", type=int, default=1)
    add("--batch-size", type=int, default=16)
    add("--device", default="auto")
    add("--dtype", default="auto")
    add("--overwrite", action="store_true", help="hear all anew")
    return parser.parse_args(arguments)


def _range(text: str) -> tuple[float, float]:
    low, colon, high = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return float(low), float(high)
    except ValueError as e:
        raise argparse.ArgumentTypeError(f"{text!r} is not LOW:HIGH, such as 2:30") from e


if __name__ == "__main__":
    sys.exit(main())
