"""Make a vocabulary of the texts of manifests.

    python -m echoic.recipes.prepare.vocabulary MANIFEST... FOLDER --size 256

A manifest is a path, optionally with conditions: `data/manifest.jsonl,split=train,lang=en`. FOLDER
gets `tokens.json` and, for pieces of words, `bpe.model`. Texts are written in one of three styles:
`words` (lower case without marks), `english` (the same, whole numbers to 99 spelled, texts with
other digits passed over) or `as_is`; train with the same.
"""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import sentencepiece

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.tokenizer import SPECIAL, UNKNOWN, Tokenizer
from echoic.asr.paraformer.training.corpus import read_utterances
from echoic.audio.data.manifest import Source
from echoic.audio.errors import error_line

STYLES = ("words", "english", "as_is")


def pieces_of(texts: Sequence[str], size: int) -> Tokenizer:
    """Make a vocabulary of pieces of words by byte-pair encoding.

    Args:
        texts: to make it of.
        size: tokens in all, the four special ones included.

    Raises:
        ValueError: the texts do not have so many pieces, or more characters.
    """
    made = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(  # pyright: ignore[reportAttributeAccessIssue]
            sentence_iterator=iter(texts),
            model_writer=made,
            model_type="bpe",
            vocab_size=size - len(SPECIAL),
            character_coverage=1.0,
            # The texts are normalised already; its own table would be most of the file.
            normalization_rule_name="identity",
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as e:
        raise ValueError(
            f"no vocabulary of {size} tokens can be made of {len(texts)} texts; choose another "
            f"--size ({' '.join(str(e).split())[-120:]})"
        ) from e
    model = made.getvalue()
    read = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [read.id_to_piece(i) for i in range(1, read.get_piece_size())]
    return Tokenizer([*SPECIAL, *pieces, UNKNOWN], pieces=model)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="vocabulary", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("manifests", nargs="+", metavar="MANIFEST")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", choices=("bpe", "characters"), default="bpe")
    parser.add_argument("--size", type=int, default=256, help="tokens (bpe)")
    parser.add_argument("--labels", choices=STYLES, default="words")
    given = parser.parse_args(arguments)
    try:
        sources = [Source.parse(text) for text in given.manifests]
        texts = [u.text for source in sources for u in read_utterances(source, given.labels)]
        if given.kind == "bpe":
            tokenizer = pieces_of(texts, given.size)
        else:
            tokenizer = Tokenizer.of_characters(texts)
        given.folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save(given.folder)
    except (CheckpointError, OSError, ValueError) as error:
        print(f"vocabulary: {error_line(error)}", file=sys.stderr)
        return 1
    tokens = sum(len(tokenizer.encode(text)) for text in texts) / len(texts)
    print(f"{given.folder}: {len(tokenizer)} tokens, {tokens:.1f} for each of {len(texts)} texts")
    return 0


if __name__ == "__main__":
    sys.exit(main())
