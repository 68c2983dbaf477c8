"""Recordings of one language with their texts as Whisper's tokens, and batches of them."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from echoic.asr.whisper.model import (
    SAMPLE_RATE,
    SAMPLES_PER_FRAME,
    SILENCE_KEPT,
    SILENT_FRAMES,
)
from echoic.asr.whisper.tokenizer import WhisperTokenizer
from echoic.asr.whisper.training.plan import IGNORED
from echoic.asr.whisper.training.whole import WholeBatch
from echoic.audio.augment import Augment, SpecAugment, generator_for
from echoic.audio.data.manifest import Source, rows_of
from echoic.audio.data.passes import Item
from echoic.audio.data.recordings import Recording, SoundBank
from echoic.audio.errors import AudioDecodeError
from echoic.audio.features import LogMel
from echoic.audio.features.log_mel import Norm

log = logging.getLogger(__name__)

SHORTEST, LONGEST = 0.2, 29.0  # seconds
MOST_TOKENS = 200
_MOST_SAMPLES = 30 * SAMPLE_RATE - SILENCE_KEPT - SILENT_FRAMES * SAMPLES_PER_FRAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken(Recording):
    """A recording of one utterance, and its text as ids."""

    tokens: tuple[int, ...]


class SpokenCorpus:
    """The utterances of a manifest that a Whisper can learn from.

    Args:
        source: rows with `audio` and `text`; those without text are passed over.
        tokenizer: of the model.
        cache: keep the sound in memory, see `SoundBank`.

    Attributes:
        kept: those that are neither too long nor too short.
        durations: seconds of each.

    Raises:
        ValueError: not one can be used.
        OSError: the manifest, or a recording, cannot be read.
    """

    def __init__(self, source: Source, tokenizer: WhisperTokenizer, cache: bool) -> None:
        found = read_spoken(source, tokenizer)
        bank = SoundBank(found, SAMPLE_RATE, cache)
        seconds = [length / SAMPLE_RATE for length in bank.lengths]
        self.bank = bank
        self.kept = [i for i, s in enumerate(seconds) if SHORTEST <= s <= LONGEST]
        self.durations = [seconds[i] for i in self.kept]
        if not self.kept:
            raise ValueError(
                f"none of the utterances of {source.path} lasts {SHORTEST} to {LONGEST:g} s"
            )
        if len(self.kept) < len(found):
            left = len(found) - len(self.kept)
            log.warning("%s: %d of %d utterances left out", source.path, left, len(found))

    def __len__(self) -> int:
        return len(self.kept)

    def utterance(self, index: int) -> Spoken:
        """Return an utterance."""
        return self.bank.recordings[self.kept[index]]

    def wav(self, index: int) -> Tensor:
        """Return the sound (N,) of an utterance.

        Raises:
            AudioDecodeError, OSError: the file cannot be read.
        """
        at = self.kept[index]
        return self.bank.stretch(at, 0, self.bank.lengths[at])


def read_spoken(source: Source, tokenizer: WhisperTokenizer) -> list[Spoken]:
    """Read the rows of a manifest that have a text, of at most `MOST_TOKENS` tokens.

    Raises:
        ValueError: there are none; names the file.
        OSError: the manifest cannot be read.
    """
    found = []
    for row in rows_of(source):
        text = " ".join(str(row.values.get("text") or "").split())
        tokens = tuple(tokenizer.encode(f" {text}")) if text else ()
        if 0 < len(tokens) <= MOST_TOKENS:
            found.append(Spoken(row.audio, row.duration, row.offset, tokens=tokens))
    if not found:
        of = "".join(f" of {name} {value!r}" for name, value in source.conditions.items())
        raise ValueError(f"{source.path} has no utterances{of} with a text")
    return found


class WholeBatchMaker:
    """Makes batch number n of a run, the same in every worker and after every restart.

    Args:
        corpora: where utterances come from.
        plan: the utterances of batch n.
        prompt: ids that the decoder starts from.
        end: id of the end of text.
        num_mels: channels of the features.
        norm: of the features, see `LogMel`.
        silence: samples of it that are heard behind each sound.
        augment: what happens to each sound; None for nothing.
        spec_augment: what is hidden of its features; None for nothing.
        seed: of what is drawn.
    """

    def __init__(
        self,
        corpora: Sequence[SpokenCorpus],
        plan: Callable[[int], Sequence[Item]],
        prompt: Sequence[int],
        end: int,
        *,
        num_mels: int = 80,
        norm: Norm = "global",
        silence: int = SILENCE_KEPT,
        augment: Augment | None = None,
        spec_augment: SpecAugment | None = None,
        seed: int = 0,
    ) -> None:
        self.corpora = corpora
        self.plan = plan
        self.prompt = tuple(prompt)
        self.end = end
        self.augment = augment
        self.spec_augment = spec_augment
        self.silence = silence
        self.seed = seed
        self.log_mel = LogMel(num_mels, norm)

    def __call__(self, number: int) -> WholeBatch:
        """Make one batch.

        Raises:
            ValueError: not one of its recordings can be read.
        """
        wavs, texts = [], []
        for item in self.plan(number):
            corpus = self.corpora[item.corpus]
            utterance = corpus.utterance(item.utterance)
            try:
                wav = corpus.wav(item.utterance)
            except AudioDecodeError as error:  # one bad file in many must not end a long run
                log.warning("left out of batch %d: %s", number, error)
                continue
            if self.augment is not None:
                seed = f"{self.seed}/{number}/{utterance.path.name}@{utterance.offset}"
                changed = self.augment(wav, SAMPLE_RATE, seed).wav
                # Played slower, it may be longer than the model hears at once.
                wav = changed if len(changed) <= _MOST_SAMPLES else wav
            wavs.append(wav)
            texts.append(utterance.tokens)
        if not wavs:
            raise ValueError(f"batch {number} has damaged recordings only: check the manifest")
        mel, lengths = self._features(wavs, number)
        return WholeBatch(mel, lengths, *self._texts(texts))

    @torch.no_grad()
    def _features(self, wavs: Sequence[Tensor], number: int) -> tuple[Tensor, Tensor]:
        lengths = torch.tensor([-(-(len(w) + self.silence) // SAMPLES_PER_FRAME) for w in wavs])
        samples = (int(lengths.max()) + SILENT_FRAMES) * SAMPLES_PER_FRAME
        mel = self.log_mel(torch.stack([functional.pad(w, (0, samples - len(w))) for w in wavs]))
        if self.spec_augment is not None:
            generator = generator_for(f"{self.seed}/{number}", "spec_augment")
            heard = torch.tensor([len(w) // (SAMPLES_PER_FRAME // 2) for w in wavs])
            mel = self.spec_augment(mel, generator, heard)
        return mel, lengths

    def _texts(self, texts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        silent = [IGNORED] * (len(self.prompt) - 1)
        fed = [torch.tensor([*self.prompt, *ids]) for ids in texts]
        asked = [torch.tensor([*silent, *ids, self.end]) for ids in texts]
        return (
            pad_sequence(fed, batch_first=True, padding_value=self.end),
            pad_sequence(asked, batch_first=True, padding_value=IGNORED),
        )
