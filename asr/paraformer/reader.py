"""Windows read by Paraformer: all words of a window in one pass, cut where nobody spoke."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch.nn.utils.rnn import pad_sequence

from echoic.asr.guards import compression_ratio
from echoic.asr.languages import LANGUAGES, language_code
from echoic.asr.options import TranscribeOptions
from echoic.asr.paraformer.hotwords import HotWords
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.reader import Reading
from echoic.asr.transcript import Segment, Word
from echoic.asr.windows import Window

# A pause of this length between two words begins a new segment.
PAUSE_SECONDS = 0.6
# Scripts from here on (kana, ideographs) are written without spaces.
FIRST_WITHOUT_SPACES = "\u2e80"


class ParaformerReader:
    """See `echoic.asr.reader.Reader`.

    Args:
        model: to recognise with.
        options: `word_timestamps`, `hotwords` and how recordings are cut are followed; what belongs
            to other kinds of decoding (temperatures, thresholds) has no meaning in one pass.

    Raises:
        ValueError: another language than the model's, or a wish that it cannot follow: a
            translation, a prompt, a beam.
    """

    def __init__(self, model: Paraformer, options: TranscribeOptions) -> None:
        self._model = model
        self._words = options.word_timestamps
        self._hotwords = expected(model, options.hotwords)
        self.language = check_language(model, options.language)
        self.max_window_seconds = model.config.max_window_seconds
        if options.task != "transcribe":
            raise ValueError("this model can only write down what is said; translate with Whisper")
        if options.prompt:
            raise ValueError("this model takes no prompt; name words to expect with --hotwords")
        if options.beam_size != 1:
            raise ValueError(f"beam_size is {options.beam_size}; this model decodes in one pass")

    def identify(self, window: Window) -> tuple[str, float] | None:
        """Return None: the model cannot tell languages apart."""
        del window

    def read(self, windows: Sequence[Window], languages: Sequence[str | None]) -> list[Reading]:
        """Recognise windows side by side; see `Reader`."""
        del languages
        device = self._model.device
        lengths = torch.tensor([len(window.wav) for window in windows], device=device)
        sound = pad_sequence([window.wav for window in windows], batch_first=True).to(device)
        recognitions = self._model.recognize(sound, lengths, hotwords=self._hotwords)
        rate = self._model.config.frontend.sample_rate
        return [
            Reading(tuple(map(self._segment, _parts(_within(found.words, len(window.wav) / rate)))))
            for window, found in zip(windows, recognitions, strict=True)
        ]

    def _segment(self, words: Sequence[Word]) -> Segment:
        texts = self._model.tokenizer.spaced([word.word for word in words])
        if words[0].word[0] < FIRST_WITHOUT_SPACES:
            texts[0] = f" {texts[0]}"
        text = "".join(texts)
        logs = [math.log(max(word.probability, 1e-6)) for word in words]
        timed = tuple(replace(w, word=t) for w, t in zip(words, texts, strict=True))
        return Segment(
            id=0,
            start=words[0].start,
            end=words[-1].end,
            text=text,
            tokens=(),
            avg_logprob=sum(logs) / len(logs),
            compression_ratio=compression_ratio(text),
            no_speech_prob=0.0,
            temperature=0.0,
            words=timed if self._words else None,
        )


def expected(model: Paraformer, words: str | None) -> HotWords | None:
    """Return the words to expect, as `HotWords.parse` reads them; None for none.

    Raises:
        ValueError: a bonus that is no number.
    """
    return None if not words else HotWords.parse(words, model.tokenizer)


def check_language(model: Paraformer, language: str | None) -> str | None:
    """Return the code of the language that a model writes, None where that is not known.

    Args:
        model: whose language is asked for.
        language: code or name that the user wants; None for any.

    Raises:
        ValueError: the model is known to write another.
    """
    wanted, own = None if language is None else language_code(language), model.config.language
    if own is not None and wanted not in (None, own):
        raise ValueError(
            f"this model knows {LANGUAGES.get(own, own).title()} only, not "
            f"{LANGUAGES[wanted].title()}; "
            "take another, such as --model base"
        )
    return own or wanted


def _within(words: Sequence[Word], end: float) -> list[Word]:
    """Keep times within the sound; its last stack of frames reaches beyond it."""
    return [replace(w, start=min(w.start, end), end=min(w.end, end)) for w in words]


def _parts(words: Sequence[Word]) -> Iterator[Sequence[Word]]:
    """Cut a window's words at pauses."""
    first = 0
    for at in range(1, len(words)):
        if words[at].start - words[at - 1].end >= PAUSE_SECONDS:
            yield words[first:at]
            first = at
    if words:
        yield words[first:]
