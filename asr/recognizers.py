"""Live recognisers by the name of their model, whatever its kind."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from echoic.asr.device import named_device
from echoic.asr.languages import language_code
from echoic.asr.models import kind_of, refuse_adapters, refuse_ngrams
from echoic.asr.paraformer.reader import check_language
from echoic.asr.paraformer.streaming import load as paraformer
from echoic.asr.whisper.streaming import load as whisper
from echoic.streaming.recognizer import Recognizer


class Live(NamedTuple):
    """A live recogniser.

    Attributes:
        recognizer: what hears.
        language: code of what it writes; None where it finds out by itself.
    """

    recognizer: Recognizer[Any]
    language: str | None


def load_live(
    model: str | Path = "tiny.en",
    *,
    policy: whisper.Policy = "causal",
    chunk_ms: float | None = None,
    device: str = "auto",
    dtype: str = "auto",
    language: str | None = None,
    beam_size: int = 1,
    hotwords: str | None = None,
    ngram_weight: float | None = None,
    language_adapters: Sequence[str | Path] = (),
    adapters: Mapping[str, str | Path] | None = None,
) -> Live:
    """Load a live recogniser, and tell its language.

    Args:
        model: a Whisper, as `echoic.asr.whisper.streaming.load.load_recognizer` takes it, or a
            Paraformer by its name in the box, folder or Hugging Face id.
        policy: of Whisper; a Paraformer is "causal" by its cut.
        chunk_ms: sound heard at once; None for the model's own. A Paraformer's is rounded to whole
            stacked frames of 60 ms.
        device: "auto", "cpu", "cuda" or "cuda:0".
        dtype: of the weights; "auto" takes what is fast.
        language: code of the speech; None for the model's own, or to find out.
        beam_size: hypotheses kept; 1 is greedy.
        hotwords: words to expect, of a Paraformer alone; see `HotWords.parse`.
        ngram_weight: of n-grams, of a Paraformer alone; see `load_model`.
        language_adapters: folders of adapters for some languages, of a Whisper alone.
        adapters: folders of LoRA adapters by name, for single streams of a causal Whisper; see
            `CausalWhisper.with_adapter`.

    Raises:
        CheckpointError: no such model, none that streams, or language adapters of another.
        ValueError: a setting that is not possible; says what is.
    """
    if kind_of(model) == "paraformer":
        refuse_adapters(language_adapters)
        if policy != "causal":
            raise ValueError(f"the policy {policy} is Whisper's; a Paraformer needs none")
        if adapters:
            raise ValueError("adapters are of a causal Whisper; a Paraformer takes none")
        if beam_size != 1:
            raise ValueError(f"beam_size is {beam_size}; a Paraformer decodes in one pass: take 1")
        found = paraformer.load_recognizer(
            model,
            chunk_ms=chunk_ms,
            device=named_device(device),
            dtype=dtype,
            hotwords=hotwords,
            ngram_weight=ngram_weight,
        )
        return Live(found, check_language(found.model, language))
    if hotwords:
        raise ValueError("hotwords cannot be followed while Whisper streams; leave them out")
    refuse_ngrams(ngram_weight)
    recognizer = whisper.load_recognizer(
        model,
        policy=policy,
        chunk_ms=chunk_ms,
        device=device,
        dtype=dtype,
        language=None if language is None else language_code(language),
        beam_size=beam_size,
        language_adapters=language_adapters,
        adapters=adapters or {},
    )
    return Live(recognizer, language or whisper.only_language(recognizer))
