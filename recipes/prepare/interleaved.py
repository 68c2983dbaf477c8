"""Documents of text with spans of words as codes, to teach a language model speech.

    echoic prepare interleaved TEXTS OUT --model TALKER [--eta 0.3] [--span 10] [--seed 0]

TEXTS has a document a line: JSON Lines with `text`, and perhaps `id`, where it is named .jsonl,
else plain text. A talker writes codes straight from the words; no sound is made. OUT is for
`task: examples` of `recipes/tts/unified-pretrain.yaml`. Stopped, and run again, it goes on where it
was. Several machines can share the work: --part 1/3, 2/3 and 3/3, each with an OUT of its own.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from echoic.audio.errors import error_line, one_line
from echoic.tts.errors import TtsError
from echoic.tts.interleaved.corpus import Builder, Totals
from echoic.tts.interleaved.documents import read_documents
from echoic.tts.interleaved.spans import SpanSettings
from echoic.tts.interleaved.speaker import TalkerCodes


def summary(totals: Totals, frame_rate: float) -> str:
    """Return what a corpus has in one line."""
    if not totals.spans:
        return f"{totals.documents} documents, not one span spoken, {totals.unspoken} stayed text"
    seconds = totals.frames / frame_rate
    parts = [
        f"{totals.documents} documents",
        f"{totals.spoken} of {totals.words} words spoken ({totals.spoken / totals.words:.1%})",
        f"{totals.spans} spans of {totals.spoken / totals.spans:.1f} words",
        f"{totals.frames} frames ({seconds / 3600:.2f} hours)",
    ]
    parts += [f"{totals.unspoken} spans stayed text"] * bool(totals.unspoken)
    parts += [f"{totals.kept} documents kept"] * bool(totals.kept)
    return ", ".join(parts)


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command; return its exit code."""
    given = _arguments(arguments, prog)
    bad = 0
    try:
        settings = SpanSettings(given.eta, given.span, given.seed)
        if given.out.exists() and not given.overwrite:
            raise ValueError(f"{given.out} is there: --overwrite it, or write to another file")
        if given.out.resolve() == given.texts.resolve():
            raise ValueError(f"{given.out} is the texts themselves: write to another file")
        with given.texts.open("rb"):  # before a model is loaded
            pass
        speaker = TalkerCodes.from_pretrained(given.model, device=given.device)
        builder = Builder(given.out, speaker, settings)
        if given.overwrite:
            builder.growing.unlink(missing_ok=True)
        part, parts = given.part
        documents = read_documents(given.texts, part, parts)
        rows = builder.build(documents)
        for problem in tqdm(rows, unit=" documents", disable=not sys.stderr.isatty()):
            if problem is not None:
                bad += 1
                place = f"{given.texts}, line {problem.number}"
                tqdm.write(f"echoic: {place}: {one_line(problem.problem)}", file=sys.stderr)
    except (TtsError, ValueError) as e:
        return _fail(e, 2)
    except OSError as e:
        return _fail(e, 2 if str(e.filename) == str(given.texts) else 1)
    told = summary(builder.totals, speaker.codes.format.frame_rate)
    print(f"{one_line(str(given.out))}: {told}")
    if bad:
        print(f"echoic: {bad} lines passed over; mend them and run this again", file=sys.stderr)
    return 1 if bad or not builder.totals.spans else 0


def _fail(error: Exception, code: int) -> int:
    print(f"echoic: {error_line(error)}", file=sys.stderr)
    return code


def _arguments(arguments: Sequence[str] | None, prog: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, usual = parser.add_argument, SpanSettings()
    add("texts", type=Path, metavar="TEXTS")
    add("out", type=Path, metavar="OUT")
    add("--model", required=True, metavar="TALKER", help="name, folder or id")
    add("--eta", type=float, default=usual.eta, help="share of the words (%(default)s)")
    add("--span", type=float, default=usual.length, help="mean of a span's words (%(default)s)")
    add("--seed", type=int, default=usual.seed)
    add(
        "--part",
        type=_part,
        default=(0, 1),
        metavar="I/N",
        help="only each N-th line, from the I-th",
    )
    add("--device", default="cpu")
    add("--overwrite", action="store_true", help="make all anew")
    return parser.parse_args(arguments)


def _part(text: str) -> tuple[int, int]:
    first, slash, second = text.partition("/")
    try:
        part, parts = int(first), int(second)
        if not slash or not 1 <= part <= parts:
            raise ValueError
    except ValueError as e:
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N, such as 1/3") from e
    return part - 1, parts


if __name__ == "__main__":
    sys.exit(main())
