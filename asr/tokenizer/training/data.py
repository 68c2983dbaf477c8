"""The data of a tokenizer's training, as a Lightning data module."""

from typing import ClassVar

from echoic.asr.whisper.training.language_data import LanguageAdapterData
from echoic.audio.features.log_mel import Norm


class SpeechTokenizerData(LanguageAdapterData):
    """Whole utterances with their texts, as `LanguageAdapterData` gives them.

    Their features have a running maximum, since a tokenizer does not know how loud speech will be,
    and no silence is put behind them, since it is not when they are coded.
    """

    norm: ClassVar[Norm] = "running"
    silence: ClassVar[int] = 0
