"""Pairs of answers to prefer one of: free-running samples of a model, heard by a recogniser.

    echoic prepare speech-preferences CORPUS MODEL OUT [--samples N] [--chosen truth|best]

CORPUS is a folder of `echoic prepare coded-speech`, MODEL the folder of a unified model. Each text
is spoken N times; the sample with the most errors is rejected, if it has more of them than
`--margin` allows over the chosen answer: the recording itself ("truth"), or the best sample. Texts
that are spoken well each time make no pair. OUT is JSON Lines for `recipes/tts/unified-align.yaml`.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

from torch import Tensor
from tqdm import tqdm

from echoic.asr.errors import CheckpointError
from echoic.asr.metrics import Normalizer, word_error_rate
from echoic.asr.text.normalizers import for_language
from echoic.asr.transcriber import Transcriber
from echoic.audio.errors import error_line
from echoic.codecs.codec import Codec
from echoic.codecs.errors import CodecError
from echoic.codecs.registry import load_codec
from echoic.codecs.weights import weights_hash
from echoic.tts.errors import TtsError
from echoic.tts.lm.guard import Bounds
from echoic.tts.lm.sampling import SamplingConfig
from echoic.tts.training.coded import CodedCorpus
from echoic.tts.unified.files import Unified, load_unified
from echoic.tts.unified.generation import SpeakRequest, speak
from echoic.tts.unified.sequences import Segment
from echoic.tts.unified.training.example_file import Codes, Pair, write_examples

Chosen = Literal["truth", "best"]
#: Frames (T, Q) to what is heard in them.
Hear = Callable[[Tensor], str]


@dataclass(frozen=True, slots=True)
class Choice:
    """How pairs are made.

    Attributes:
        samples: of each text.
        chosen: "truth" for the recording, "best" for the sample with the fewest errors.
        margin: words in error, as a share of the text's, that the rejected answer must have more
            than the chosen one.
        sampling: of the samples.
        bounds: of their length, by the letters of the text.
        seed: of them.

    Raises:
        ValueError: numbers out of their range.
    """

    samples: int = 3
    chosen: Chosen = "truth"
    margin: float = 0.1
    sampling: SamplingConfig = SamplingConfig()  # noqa: RUF009 (frozen)
    bounds: Bounds = Bounds()  # noqa: RUF009 (frozen)
    seed: int = 0

    def __post_init__(self) -> None:
        least = 2 if self.chosen == "best" else 1
        if self.samples < least or self.margin < 0:
            raise ValueError(
                f"samples {self.samples}, margin {self.margin}: expected {least} or more with "
                f"chosen {self.chosen!r}, and 0 or more"
            )


class Made(NamedTuple):
    """What became of an utterance.

    Attributes:
        id: of it.
        pair: of answers; None where no sample was bad enough.
    """

    id: str
    pair: Pair | None


def make_pairs(
    corpus: CodedCorpus,
    unified: Unified,
    hear: Hear,
    normalizer: Normalizer | None,
    choice: Choice,
    limit: int | None = None,
) -> Iterator[Made]:
    """Speak the texts of a corpus and compare what is heard.

    Args:
        corpus: texts and recordings.
        unified: what speaks.
        hear: recognises frames.
        normalizer: of what is said and heard.
        choice: how.
        limit: utterances, the first ones.

    Yields:
        What became of each utterance.
    """
    for index, line in enumerate(corpus.lines[:limit]):
        given = [Segment(line.text)]
        request = replace(
            SpeakRequest.of(unified.sequencer, line.text),
            sampling=choice.sampling,
            bounds=choice.bounds,
            seed=choice.seed + index * choice.samples,
        )
        # A sample that was cut for its length or for going in circles is no less an answer.
        spoken = [said.frames for said in speak(unified.model, request, choice.samples)]
        said = [frames for frames in spoken if len(frames)]
        if choice.chosen == "truth":
            said.append(corpus.frames(index))
        errors = [word_error_rate([line.text], [hear(f)], normalizer).rate for f in said]
        order = sorted(range(len(said)), key=errors.__getitem__)
        best = len(said) - 1 if choice.chosen == "truth" else order[0]
        worst = order[-1]
        pair = None
        if errors[worst] > errors[best] + choice.margin:
            pair = Pair(given, *([Segment(said[i], answer=True)] for i in (best, worst)))
        yield Made(line.id, pair)


def hearing(codec: Codec, transcriber: Transcriber) -> Hear:
    """Return what recognises frames of a codec."""

    def hear(frames: Tensor) -> str:
        wav = codec.decode(frames.T[None].to(codec.device))[0].cpu()
        return transcriber.transcribe(wav, sample_rate=codec.sample_rate).text

    return hear


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus")
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--split", default="", help="only utterances of it")
    parser.add_argument("--limit", type=int, default=None, help="utterances, the first ones")
    parser.add_argument("--samples", type=int, default=3, help="of each text")
    parser.add_argument("--chosen", choices=get_args(Chosen), default="truth")
    parser.add_argument("--margin", type=float, default=0.1, help="share of words, 0.1 is 10 %%")
    parser.add_argument("--temperature", type=float, default=0.9)
    parser.add_argument("--recognizer", default="tiny.en", help="name, id or folder")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    try:
        sampling = SamplingConfig(temperature=given.temperature)
        choice = Choice(given.samples, given.chosen, given.margin, sampling, seed=given.seed)
        corpus = CodedCorpus(given.corpus, given.split)
        codes = Codes(corpus.settings.format, corpus.settings.codec_hash)
        unified = load_unified(given.model, device=given.device)
        codec = load_codec(codes.format.codec, device=given.device)
        for what, found in (("model", unified.codec_hash), ("codec", weights_hash(codec))):
            if found != codes.codec_hash:
                raise ValueError(
                    f"the {what} is of the codec {found}, the corpus of {codes.codec_hash}: code "
                    "the speech by its codec"
                )
        # Not "auto": what that picks depends on the machine and its load, and with it some words.
        transcriber = Transcriber.from_pretrained(
            given.recognizer, device=given.device, dtype="float32"
        )
        made = make_pairs(
            corpus,
            unified,
            hearing(codec, transcriber),
            for_language(corpus.settings.language),
            choice,
            given.limit,
        )
        count = _write(given.out, codes, tqdm(made, unit=" texts", disable=not sys.stderr.isatty()))
    except (CheckpointError, CodecError, TtsError, ValueError) as e:
        print(f"echoic: {error_line(e)}", file=sys.stderr)
        return 2
    except (ImportError, OSError) as e:
        print(f"echoic: {error_line(e)}", file=sys.stderr)
        return 1
    print(f"{given.out}: {count.pairs} pairs of {count.texts} texts")
    return 0 if count.pairs else 1


class _Count(NamedTuple):
    pairs: int
    texts: int


def _write(out: str, codes: Codes, made: "Iterator[Made] | tqdm[Made]") -> _Count:
    found = list(made)
    kept = [one for one in found if one.pair is not None]
    pairs = [one.pair for one in kept if one.pair is not None]
    return _Count(write_examples(out, codes, pairs, [one.id for one in kept]), len(found))


if __name__ == "__main__":
    sys.exit(main())
