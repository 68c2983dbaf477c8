"""Make training speech: voices read the sentences of any prose.

    echoic prepare synthetic OUT --text FILE [--voice ENGINE:NAME=HOURS ...]
    python -m echoic.recipes.prepare.synthetic OUT --text FILE [--voice ENGINE:NAME=HOURS ...]

OUT gets `audio/` and `manifest.jsonl` with a line for every sentence: audio (path relative to OUT),
text, lang, speaker, duration (s), source, speed, pitch, id and split. Every sentence is read once,
by the voice that is farthest behind its share of the hours; its pace and pitch are drawn from the
seed and the sentence. Run again, it goes on where it was stopped; with more hours, it adds to what
is there.
"""

import argparse
import hashlib
import json
import random
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from tqdm import tqdm

from echoic.audio.errors import error_line
from echoic.audio.io import save
from echoic.audio.resample import Resampler
from echoic.recipes.prepare.sentences import lines_of, plain, sentences
from echoic.recipes.prepare.voices import Voice, VoiceError

SAMPLE_RATE = 16_000
MANIFEST = "manifest.jsonl"
_PEAK = 0.8
# Slower or faster than any voice at the paces drawn here: something was not read, or read apart.
_WORDS_PER_SECOND = (0.7, 7.0)
_FAILURES = 20


@dataclass(frozen=True, slots=True)
class Spoken:
    """A line of the manifest.

    Attributes:
        audio: path relative to the manifest's folder.
        text: what is said.
        lang: two letters.
        speaker: the voice, "engine:name".
        duration: seconds.
        source: name of the text file.
        speed: factor of the voice's own pace, the change by `pitch` included.
        pitch: factor of the voice's own pitch and formants.
        id: that of the sound's file; "" in old manifests, which had none.
        split: train.
    """

    audio: str
    text: str
    lang: str
    speaker: str
    duration: float
    source: str
    speed: float
    pitch: float
    id: str = ""
    split: str = "train"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to make.

    Attributes:
        hours: speech wanted of each voice.
        seed: of the order of sentences and of all that is drawn.
        spread_speed: paces are drawn from 1 / (1 + this) to 1 + this.
        spread_pitch: pitches likewise; formants move along, as in a bigger or smaller head.
        suffix: .flac, or .opus for a fifth of the space and ten times the work of writing.
    """

    hours: Mapping[Voice, float]
    seed: int = 0
    spread_speed: float = 0.2
    spread_pitch: float = 0.12
    suffix: str = ".flac"

    def __post_init__(self) -> None:
        if not self.hours or not all(h > 0 for h in self.hours.values()):
            raise ValueError(f"hours are {dict(self.hours)}; give a voice with more than 0 hours")
        for name in ("spread_speed", "spread_pitch"):
            if not 0 <= getattr(self, name) <= 0.5:
                raise ValueError(f"{name} is {getattr(self, name)}; choose 0 to 0.5")
        if self.suffix not in (".opus", ".flac"):
            raise ValueError(f"suffix is {self.suffix!r}; choose .opus or .flac")


def make(out: Path, texts: Sequence[tuple[str, str]], plan: Plan) -> Generator[Spoken, None, None]:
    """Have the voices read, until all have their hours or the sentences are used up.

    Args:
        out: the folder to write to, or to go on with.
        texts: (sentence, source) pairs; each sentence once.
        plan: voices, hours, seed.

    Returns:
        An iterator that does the work: every new line of the manifest, after it and its sound were
        written. A sentence that its voice cannot read is passed over; when 20 fail in a row,
        VoiceError is raised.

    Raises:
        VoiceError: a voice is not installed.
        ValueError: the folder's manifest cannot be read.
        OSError: the folder cannot be written.
    """
    for voice in plan.hours:
        voice.check()
    lines = list(read_manifest(out / MANIFEST))
    done = dict.fromkeys(plan.hours, 0.0)
    for line in lines:
        if (voice := Voice.parse(line.speaker)) in done:
            done[voice] += line.duration
    # All are shuffled before those that are there are left out: so a stop changes nothing.
    order = list(texts)
    random.Random(plan.seed).shuffle(order)
    there = {line.text for line in lines}
    out.mkdir(parents=True, exist_ok=True)
    return _read_aloud(out, [pair for pair in order if pair[0] not in there], plan, done)


def _read_aloud(
    out: Path, order: Sequence[tuple[str, str]], plan: Plan, done: dict[Voice, float]
) -> Generator[Spoken, None, None]:
    failures = 0
    with (out / MANIFEST).open("a", encoding="utf-8") as file:
        for text, source in order:
            voice = min(plan.hours, key=lambda v: done[v] / plan.hours[v])
            if done[voice] >= plan.hours[voice] * 3600:
                return
            try:
                line = _record(out, voice, text, source, plan)
            except VoiceError as e:
                failures += 1
                if failures == _FAILURES:
                    raise VoiceError(f"{failures} sentences failed, the last so: {e}") from e
                continue
            failures = 0
            done[voice] += line.duration
            file.write(json.dumps(asdict(line), ensure_ascii=False) + "\n")
            file.flush()
            yield line


def _record(out: Path, voice: Voice, text: str, source: str, plan: Plan) -> Spoken:
    key = hashlib.sha256(f"{plan.seed}|{voice}|{text}".encode()).hexdigest()
    draw = random.Random(key)
    speed = (1 + plan.spread_speed) ** draw.uniform(-1, 1)
    # Whole per cents, so that few resamplers serve all.
    pitch = round((1 + plan.spread_pitch) ** draw.uniform(-1, 1), 2)
    spoken = voice.speak(text, speed=speed / pitch, seed=int(key[:8], 16))
    wav = _resampler(round(spoken.sample_rate * pitch))(spoken.wav)
    wav = wav * (_PEAK / float(wav.abs().max()))
    seconds = wav.shape[1] / SAMPLE_RATE
    pace = len(text.split()) / seconds
    if not _WORDS_PER_SECOND[0] <= pace <= _WORDS_PER_SECOND[1]:
        raise VoiceError(f"{voice} read {text!r} at {pace:.1f} words a second")
    folder = str(voice).replace(":", "-").replace("+", "-")
    audio = Path("audio", folder, f"{key[:16]}{plan.suffix}")
    (out / audio).parent.mkdir(parents=True, exist_ok=True)
    save(out / audio, wav, SAMPLE_RATE)
    rounded = round(seconds, 3), round(speed, 3), pitch
    return Spoken(
        audio.as_posix(), text, "en", str(voice), rounded[0], source, *rounded[1:], key[:16]
    )


@lru_cache(maxsize=128)
def _resampler(rate: int) -> Resampler:
    return Resampler(rate, SAMPLE_RATE)


def read_manifest(path: Path) -> Iterator[Spoken]:
    """Read the lines of a manifest made here; none where there is no file.

    A last line that was cut by a stop is taken away from the file.

    Raises:
        ValueError: a line is not one of ours.
    """
    if not path.exists():
        return
    whole, _, cut = path.read_bytes().rpartition(b"\n")
    if cut:
        path.write_bytes(whole + b"\n" if whole else b"")
    for number, line in enumerate(whole.decode("utf-8").splitlines(), start=1):
        try:
            yield Spoken(**json.loads(line))
        except (ValueError, TypeError) as e:
            raise ValueError(f"{path}: line {number} is not a line of this recipe: {e}") from e


def read_texts(paths: Sequence[Path], excluded: Sequence[Path] = ()) -> list[tuple[str, str]]:
    """Split text files into sentences, without those of other files.

    Args:
        paths: UTF-8 prose.
        excluded: files with a text on every line; sentences equal but for case and punctuation are
            left out, for example those of test sets.

    Returns:
        (sentence, file name) pairs, no two sentences alike but for case and punctuation.
    """
    seen = lines_of(excluded)
    found: list[tuple[str, str]] = []
    for path in paths:
        for sentence in sentences(path.read_text(encoding="utf-8", errors="replace")):
            if plain(sentence) not in seen:
                seen.add(plain(sentence))
                found.append((sentence, path.name))
    return found


def _hours(argument: str) -> tuple[Voice, float]:
    name, _, hours = argument.partition("=")
    try:
        return Voice.parse(name), float(hours or 1.0)
    except ValueError as e:
        raise argparse.ArgumentTypeError(f"{argument!r}: {e}") from e


def _arguments(arguments: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--text", type=Path, action="append", required=True, metavar="FILE")
    parser.add_argument(
        "--voice",
        type=_hours,
        action="append",
        metavar="ENGINE:NAME[=HOURS]",
        help="hibari:heart, flite:slt, festival:kal_diphone, espeak:en-us+f3, ...; 1 hour each",
    )
    parser.add_argument("--exclude-texts", type=Path, action="append", default=[], metavar="FILE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speed", type=float, default=0.2, help="spread of the pace")
    parser.add_argument("--pitch", type=float, default=0.12, help="spread of the pitch")
    parser.add_argument("--format", choices=("flac", "opus"), default="flac")
    return parser.parse_args(arguments)


def main(
    arguments: Sequence[str] | None = None, prog: str = "python -m echoic.recipes.prepare.synthetic"
) -> int:
    """Run the command, which its help calls `prog`; returns the exit code."""
    options = _arguments(arguments, prog)
    try:
        plan = Plan(
            hours=dict(options.voice or [(Voice("hibari", "heart"), 1.0)]),
            seed=options.seed,
            spread_speed=options.speed,
            spread_pitch=options.pitch,
            suffix=f".{options.format}",
        )
        seconds = _run(options, plan)
    except (VoiceError, OSError, ValueError) as e:
        print(f"synthetic: {error_line(e)}", file=sys.stderr)
        return 1
    print(f"{options.out}: {seconds / 3600:.2f} hours")
    return 0


def _run(options: argparse.Namespace, plan: Plan) -> float:
    """Make what is missing behind a bar; return the seconds that are there in all."""
    texts = read_texts(options.text, options.exclude_texts)
    there = sum(line.duration for line in read_manifest(options.out / MANIFEST))
    new = make(options.out, texts, plan)
    total = round(sum(plan.hours.values()) * 3600)
    form = "{l_bar}{bar}| {n:.0f}/{total} s [{elapsed}<{remaining}]"
    with tqdm(total=total, initial=round(there), bar_format=form) as bar:
        for line in new:
            bar.update(line.duration)
            there += line.duration
    if there < total - 1:
        print(f"synthetic: the sentences last for {there:.0f} of {total} s", file=sys.stderr)
    return there


if __name__ == "__main__":
    sys.exit(main())
