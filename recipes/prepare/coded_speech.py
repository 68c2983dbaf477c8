"""Code a corpus for a speech language model: recordings to frames of codes, texts to ids.

    echoic prepare coded-speech MANIFEST OUT [--codec NAME] [--n-q N] [--g2p NAME] [--align]

MANIFEST is JSON Lines with `audio` and `text`, and optionally `speaker` and `split`. OUT becomes a
folder that `echoic.tts.training.data.SpeechData` learns from. Recordings that cannot be read, or
texts that cannot be read aloud, are told and left out. With --align it also finds which frames say
which phoneme, or letter, for models whose text runs along with the speech. NAME is that of a codec,
or the folder of a speech tokenizer.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice

import torch
from tqdm import tqdm

from echoic.audio.data.manifest import Row, Source, rows_of
from echoic.audio.data.recordings import Recording
from echoic.audio.errors import AudioDecodeError, error_line
from echoic.codecs.errors import CodecError
from echoic.codecs.weights import weights_hash
from echoic.recipes.prepare.coder import Coder, load_coder
from echoic.tts.alignment.corpus import align, fit
from echoic.tts.alignment.files import ALIGNER, save_units
from echoic.tts.text.alphabet import BYTES, IPA, Alphabet
from echoic.tts.text.frontend import Reader
from echoic.tts.text.phonemes import G2PError, g2p
from echoic.tts.text.pieces import Utterance
from echoic.tts.tokens import FrameFormat
from echoic.tts.training.coded import CodedCorpus, CodedWriter, CorpusSettings, write_starts

_SHORTEST = 0.2  # seconds


def code(
    source: Source,
    out: str,
    codec: Coder,
    *,
    name: str,
    n_q: int | None = None,
    phonemes: str = "",
    language: str = "en",
) -> Iterator[str]:
    """Code a manifest.

    Args:
        source: the manifest.
        out: the folder to write.
        codec: what codes.
        name: of the codec, for those who read the corpus.
        n_q: codes of a frame; all of them for None.
        phonemes: where they come from, see `g2p`; "" for texts as bytes.
        language: of the texts.

    Yields:
        For each row "" when it is done, or why it was left out.

    Raises:
        ValueError: a bad manifest, an unknown language, or an n_q that is out of range.
        G2PError: phonemes cannot be had.
        OSError: OUT cannot be written.
    """
    books = codec.check_n_q(n_q)
    form = FrameFormat(books, codec.codebook_size, codec.frame_rate, codec.num_groups, name)
    alphabet: Alphabet = IPA if phonemes else BYTES
    reader = Reader(language, g2p(phonemes) if phonemes else None, longest=10_000)
    settings = CorpusSettings(form, weights_hash(codec), alphabet.to_config(), language, phonemes)
    rows = rows_of(source)
    first = list(islice(rows, 1))  # a manifest that cannot be read leaves no folder behind
    with CodedWriter(out, settings) as writer:
        for number, row in enumerate(chain(first, rows)):
            try:
                ids = _ids(reader, alphabet, str(row.values.get("text") or ""))
                frames = _frames(row, codec, books)
            except (AudioDecodeError, OSError, ValueError, RuntimeError) as e:
                yield f"{row.audio}: left out: {error_line(e)}"
                continue
            key = str(row.values.get("id") or number)
            who, split = (str(row.values.get(k) or "") for k in ("speaker", "split"))
            writer.add(key, str(row.values["text"]), ids, frames, speaker=who, split=split)
            yield ""


def align_units(folder: str, *, watch: Callable[[float], object] = lambda score: None) -> int:
    """Find where each unit of the texts of a coded corpus begins, and write it there.

    What was learned of the units stays there, too: it aligns recordings that a voice is made of.

    Args:
        folder: of the corpus.
        watch: see `echoic.tts.alignment.corpus.fit`.

    Returns:
        How many utterances have more units than frames, and were passed over.

    Raises:
        ValueError: no such corpus, or none of it can be aligned.
        OSError: it cannot be written.
    """
    corpus = CodedCorpus(folder)
    units = fit(corpus, watch=watch)
    starts = dict(align(corpus, units))
    save_units(units, corpus.folder / ALIGNER)
    write_starts(corpus, starts)
    return len(corpus) - len(starts)


def _ids(reader: Reader, alphabet: Alphabet, text: str) -> list[int]:
    utterances = reader.read(text)
    if not utterances:
        raise ValueError("its text has no words")
    # One recording is one utterance, however many sentences it has.
    pieces = tuple(piece for utterance in utterances for piece in utterance.pieces)
    return alphabet.encode(Utterance(pieces, utterances[0].span)).ids


@torch.inference_mode()
def _frames(row: Row, codec: Coder, books: int) -> torch.Tensor:
    recording = Recording(row.audio, row.duration, row.offset)
    wav = recording.load(codec.sample_rate)
    if len(wav) < _SHORTEST * codec.sample_rate:
        raise ValueError(
            f"lasts {len(wav) / codec.sample_rate:.2f} s, expected {_SHORTEST} at least"
        )
    return codec.encode(wav[None].to(codec.device), n_q=books).codes[0].T.cpu().contiguous()


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest")
    parser.add_argument("out")
    parser.add_argument("--split", default=None, help="only rows of it")
    parser.add_argument("--codec", default="echo-16k-tiny", help="name, id or folder")
    parser.add_argument("--n-q", type=int, default=None, help="codes of a frame; all of them")
    parser.add_argument("--g2p", default="", help="hibari, espeak:VOICE; else texts as bytes")
    parser.add_argument("--language", default="en")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--align", action="store_true", help="find which frames say which unit")
    given = parser.parse_args(arguments)
    source = Source(given.manifest)
    if given.split is not None:
        source = replace(source, split=given.split)
    done = left_out = apart = 0
    try:
        codec = load_coder(given.codec, device=given.device)
        rows = code(
            source, given.out, codec, name=given.codec, n_q=given.n_q, phonemes=given.g2p,
            language=given.language,
        )  # fmt: skip
        for problem in tqdm(rows, unit=" recordings", disable=not sys.stderr.isatty()):
            done += not problem
            left_out += bool(problem)
            if problem:
                tqdm.write(f"echoic: {problem}", file=sys.stderr)
        if given.align and done:
            with tqdm(desc="align", unit=" rounds", disable=not sys.stderr.isatty()) as bar:
                apart = align_units(given.out, watch=lambda _: bar.update())
    except (CodecError, G2PError, ValueError, ImportError, OSError) as e:
        print(f"echoic: {error_line(e)}", file=sys.stderr)
        return 2 if isinstance(e, ValueError | CodecError) else 1
    told = [f"{done} recordings"]
    told += [f"{left_out} left out"] * bool(left_out)
    told += [f"{apart} too short to be aligned"] * bool(apart)
    print(f"{given.out}: {', '.join(told)}")
    return 1 if left_out or not done else 0


if __name__ == "__main__":
    sys.exit(main())
