"""From a name to a recogniser of live speech."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from echoic.asr.device import named_device
from echoic.asr.errors import CheckpointError
from echoic.asr.whisper import arithmetic
from echoic.asr.whisper.adapter import Adapter, load_adapter, merge
from echoic.asr.whisper.adapter_config import CONFIG_FILE
from echoic.asr.whisper.box import box_adapters
from echoic.asr.whisper.checkpoint import load_checkpoint
from echoic.asr.whisper.language_adapter import hold
from echoic.asr.whisper.language_adapter_file import load_language_adapter, load_whisper
from echoic.asr.whisper.model import FRAMES_PER_SECOND, WhisperModel
from echoic.asr.whisper.streaming.agreement import AgreementConfig, LocalAgreement
from echoic.asr.whisper.streaming.alignatt import AlignAtt, AlignAttConfig
from echoic.asr.whisper.streaming.blocks import Blocks
from echoic.asr.whisper.streaming.causal import CausalWhisper
from echoic.asr.whisper.streaming.config import CausalConfig
from echoic.asr.whisper.streaming.engines import Engines
from echoic.asr.whisper.streaming.lora_bank import LoraBank
from echoic.streaming.recognizer import Recognizer

Policy = Literal["causal", "agreement", "alignatt"]
POLICIES: tuple[str, ...] = get_args(Policy)
DEFAULT_CHUNK_MS = {"causal": 320, "agreement": 1000, "alignatt": 1000}


def load_recognizer(
    model: str | Path = "tiny.en",
    *,
    policy: Policy = "causal",
    chunk_ms: float | None = None,
    device: str = "auto",
    dtype: str = "auto",
    language: str | None = None,
    beam_size: int = 1,
    language_adapters: Sequence[str | Path] = (),
    adapters: Mapping[str, str | Path] | None = None,
) -> Recognizer[Any]:
    """Load a recogniser of live speech.

    Args:
        model: for "causal", an adapter folder, the name of an adapter in the box, or a model that
            one of them is for; for the other policies any Whisper: a name in the box, a Hugging
            Face id, or a folder.
        policy: "causal" for a model that was trained to stream; "agreement" (LocalAgreement-2) and
            "alignatt" (AlignAtt) for any Whisper.
        chunk_ms: sound heard at once; None for 320 with "causal", 1000 with the others.
        device: "auto", "cpu", "cuda" or "cuda:0".
        dtype: see `WhisperModel.from_pretrained`; with "causal", "auto" is one arithmetic for all,
            the fastest for a few frames at a time.
        language: code of the speech; None for English, or to find out (not with "causal").
        beam_size: hypotheses kept; 1 is greedy.
        language_adapters: folders of adapters for some languages.
        adapters: folders of LoRA adapters by a name of their own, for "causal": `with_adapter` of
            the recogniser gives one that hears with them, in one batch with all others.

    Raises:
        CheckpointError: no such model, no adapter for it, or adapters of another.
        ValueError: a setting that is not possible; says what is.
    """
    if policy not in POLICIES:
        raise ValueError(f"policy is {policy!r}; it must be one of {', '.join(POLICIES)}")
    size = DEFAULT_CHUNK_MS[policy] if chunk_ms is None else chunk_ms
    where = named_device(device)
    if policy == "causal":
        return _causal(
            model, size, where, dtype, language, beam_size, language_adapters, adapters or {}
        )
    if adapters:
        raise ValueError(f"adapters are for the policy causal, not {policy}: merge one instead")
    whisper = load_whisper(model, device=where, dtype=dtype, language_adapters=language_adapters)
    if policy == "agreement":
        settings = AgreementConfig(chunk_ms=round(size), language=language, beam_size=beam_size)
        return LocalAgreement(whisper, settings)
    if beam_size != 1:
        raise ValueError(f"beam_size is {beam_size}; the policy alignatt is greedy: take 1")
    return AlignAtt(whisper, AlignAttConfig(chunk_ms=round(size), language=language))


def only_language(recognizer: Recognizer[Any]) -> str | None:
    """Return the code of what a recogniser of `load_recognizer` writes, if it is one language.

    An adapter is trained on English; other recognisers follow their model.
    """
    model: WhisperModel = recognizer.model  # pyright: ignore[reportAttributeAccessIssue]
    english = isinstance(recognizer, CausalWhisper) or not model.generation.is_multilingual
    return "en" if english else None


def find_adapter(name_or_dir: str | Path) -> Adapter:
    """Return an adapter by folder, by its name in the box, or by that of the model it is for.

    Raises:
        CheckpointError: there is none.
    """
    folder = Path(name_or_dir)
    if (folder / CONFIG_FILE).is_file():
        return load_adapter(folder)
    for found in box_adapters():
        if str(name_or_dir) in (found.name, found.base_model) and found.streaming:
            return load_adapter(found.folder)
    names = ", ".join(a.name for a in box_adapters() if a.streaming) or "none"
    raise CheckpointError(
        f"no adapter makes {name_or_dir} causal: give an adapter folder, or one in the box "
        f"({names}), or stream the model as it is with --policy agreement"
    )


def load_causal_model(
    adapter: Adapter,
    *,
    device: torch.device,
    dtype: str = "auto",
    language_adapters: Sequence[str | Path] = (),
) -> WhisperModel:
    """Return the model of a causal adapter, merged and ready to stream.

    Raises:
        CheckpointError: the adapter does not say what it is for, or does not fit it, or language
            adapters are of another model.
        ValueError: two language adapters are of one language.
    """
    languages = [load_language_adapter(folder) for folder in language_adapters]
    if adapter.base_model is None:
        raise CheckpointError(f"{adapter.folder} does not say which model it adapts")
    model = merge(WhisperModel.from_checkpoint(load_checkpoint(adapter.base_model)), adapter)
    if languages:
        hold(model, languages, causal=adapter)
    if dtype == "auto":
        # A block is a few frames: like the decoder's tokens, it is bound by the reading of weights.
        dtype = arithmetic.choose(device, model.config).decoder
    return model.to_inference(device=device, dtype=dtype)


def _causal(
    model: str | Path,
    chunk_ms: float,
    device: torch.device,
    dtype: str,
    language: str | None,
    beam_size: int,
    language_adapters: Sequence[str | Path],
    adapters: Mapping[str, str | Path],
) -> CausalWhisper:
    adapter = find_adapter(model)
    settings = adapter.streaming
    if settings is None:
        raise CheckpointError(
            f"{adapter.folder} is no streaming adapter: it has no echoic_streaming.json"
        )
    first, left = settings.first_block_frames, settings.left_context_frames
    cut = Blocks.of_milliseconds(
        chunk_ms,
        first=None if first is None else max(1000 * first / FRAMES_PER_SECOND, chunk_ms),
        left_context_seconds=None if left is None else left / FRAMES_PER_SECOND,
    )
    config = CausalConfig(
        blocks=cut,
        hold_seconds=settings.hold_seconds,
        initial_max=settings.initial_max,
        beam_size=beam_size,
        language=language,
    )
    whisper = load_causal_model(
        adapter, device=device, dtype=dtype, language_adapters=language_adapters
    )
    bank = LoraBank(whisper, base=adapter)
    for name, folder in adapters.items():
        bank.put(name, load_adapter(folder))
    return CausalWhisper(whisper, config, engines=Engines.of(whisper, bank))
