"""Count which tokens follow which, and lay that beside a Paraformer, whose texts it mends.

    python -m echoic.recipes.prepare.ngrams MODEL TEXT... [--labels english] [--weight 0.4]

MODEL is the model's folder, which gets `ngrams.safetensors`; from then on it is used. A TEXT is a
manifest with the texts of recordings, optionally with conditions (`data/all.jsonl,split=train`),
or prose (`.txt`), which is split into sentences. It should be of the kind that will be heard, and
nothing of it from a test set: what stands on a line of an excluded file is left out.

In place of texts, one ARPA file (`.arpa`, `.arpa.gz`) gives n-grams that KenLM or SRILM counted,
whose words are the model's tokens (its `tokens.json`).
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.arpa import is_arpa, read_arpa
from echoic.asr.paraformer.checkpoint import read_settings
from echoic.asr.paraformer.fusion import FILE, WEIGHT, Fusion, write_fusion
from echoic.asr.paraformer.labels import Style, label_text
from echoic.asr.paraformer.ngrams import Ngrams
from echoic.asr.paraformer.tokenizer import Tokenizer
from echoic.asr.paraformer.training.corpus import read_utterances
from echoic.audio.data.manifest import Source
from echoic.recipes.prepare.sentences import lines_of, plain, sentences

# Words of a sentence that is not cut at its clauses.
_LONGEST = 60


def counted(
    texts: Sequence[str], tokenizer: Tokenizer, style: Style, least: Sequence[int]
) -> Ngrams:
    """Count the n-grams of texts in a vocabulary; texts that cannot be written in it are left out.

    Raises:
        ValueError: none can be, or `least` does not fit.
    """
    written = (label_text(text, style) for text in texts)
    tokens = [tokenizer.encode(text) for text in written if text]
    known = [ids for ids in tokens if tokenizer.unknown not in ids]
    return Ngrams.count(known, len(tokenizer), least)


def _counted(given: argparse.Namespace, tokenizer: Tokenizer) -> tuple[Ngrams, str]:
    """Return n-grams of texts, and of what they are."""
    left_out = lines_of(given.exclude_texts)
    every = (text for one in given.texts for text in _texts(one, given.labels))
    texts = [text for text in every if plain(text) not in left_out]
    return counted(texts, tokenizer, given.labels, given.least), f"{len(texts):,} texts"


def _read(given: argparse.Namespace, tokenizer: Tokenizer) -> tuple[Ngrams, str]:
    """Return n-grams of an ARPA file, and of what they are."""
    path = next(filter(is_arpa, given.texts))
    if len(given.texts) > 1 or given.exclude_texts:
        raise ValueError(
            f"{path} is counted already: give it alone, without texts to add or leave out"
        )
    ngrams, known = read_arpa(Path(path), tokenizer.ids, given.order)
    return ngrams, f"{path}, which has {known:,} of {len(tokenizer):,} tokens"


def _texts(given: str, style: Style) -> Iterator[str]:
    if given.endswith(".txt"):
        prose = Path(given).read_text(encoding="utf-8", errors="replace")
        yield from sentences(prose, shortest=1, longest=_LONGEST)
    else:
        yield from (u.text for u in read_utterances(Source.parse(given), style))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m echoic.recipes.prepare.ngrams",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("texts", nargs="+", metavar="TEXT")
    parser.add_argument("--labels", choices=get_args(Style), default="words")
    parser.add_argument("--exclude-texts", type=Path, action="append", default=[], metavar="FILE")
    parser.add_argument("--weight", type=float, default=WEIGHT, help="beside the sound's score")
    parser.add_argument(
        "--least",
        type=int,
        nargs="+",
        default=[1, 1, 2],
        metavar="N",
        help="how often n-grams of 1, 2, ... tokens must come",
    )
    parser.add_argument("--order", type=int, metavar="N", help="longest n-grams of an ARPA file")
    given = parser.parse_args(arguments)
    try:
        _, tokenizer = read_settings(given.model)
        found = _read if any(map(is_arpa, given.texts)) else _counted
        ngrams, source = found(given, tokenizer)
        write_fusion(Fusion(ngrams, given.weight), given.model)
    except (CheckpointError, OSError, ValueError) as error:
        print(f"ngrams: {error}", file=sys.stderr)
        return 1
    size = (given.model / FILE).stat().st_size
    lengths = " + ".join(f"{len(level.keys):,}" for level in ngrams.levels)
    print(f"{given.model / FILE}: {lengths} n-grams of {source}, {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
