"""Sizes of a Whisper model and the token ids that steer its decoding.

Field names are those of Hugging Face's `config.json` and `generation_config.json`, so both files of
any Whisper repository are read as they are; their many training-only keys are left out.
"""

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from echoic.asr.errors import CheckpointError

if TYPE_CHECKING:
    from echoic.asr.whisper.tokenizer import WhisperTokenizer

logger = logging.getLogger(__name__)

# The smallest vocabulary with language ids in use; English-only models have one entry less.
MULTILINGUAL_VOCAB_SIZE = 51865

_FIXED = {
    "model_type": "whisper",
    "activation_function": "gelu",
    "scale_embedding": False,
    "tie_word_embeddings": True,
}


@dataclass(frozen=True, slots=True)
class WhisperConfig:
    """Sizes of the encoder and the decoder.

    Attributes:
        vocab_size: rows of the token embedding.
        num_mel_bins: channels of the log-mel input: 80, or 128 from large-v3 on.
        d_model: width of both stacks.
        encoder_layers: number of encoder layers.
        encoder_attention_heads: heads of each encoder layer.
        encoder_ffn_dim: inner width of the encoder's feed-forward layers.
        decoder_layers: number of decoder layers.
        decoder_attention_heads: heads of each decoder layer.
        decoder_ffn_dim: inner width of the decoder's feed-forward layers.
        max_source_positions: encoder frames (20 ms each) with a position.
        max_target_positions: tokens with a position.
    """

    vocab_size: int
    num_mel_bins: int
    d_model: int
    encoder_layers: int
    encoder_attention_heads: int
    encoder_ffn_dim: int
    decoder_layers: int
    decoder_attention_heads: int
    decoder_ffn_dim: int
    max_source_positions: int = 1500
    max_target_positions: int = 448

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise CheckpointError(f"{field.name} must be a positive integer, not {value!r}")
        for side in ("encoder", "decoder"):
            heads = getattr(self, f"{side}_attention_heads")
            if self.d_model % heads:
                raise CheckpointError(
                    f"d_model {self.d_model} cannot be split over {side}_attention_heads {heads}"
                )
        if self.d_model % 2:
            raise CheckpointError(f"d_model must be even (sine and cosine halves): {self.d_model}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read the object of a Hugging Face `config.json`.

        Raises:
            CheckpointError: not a Whisper config, a size is missing, or a setting that the model
                code does not have.
        """
        if values.get("model_type") != "whisper":
            raise CheckpointError(
                f"model_type is {values.get('model_type')!r} in config.json, expected 'whisper'"
            )
        for name, expected in _FIXED.items():
            if values.get(name, expected) != expected:
                raise CheckpointError(
                    f"{name} = {values[name]!r} in config.json is not supported, "
                    f"only {expected!r} is"
                )
        fields = dataclasses.fields(cls)
        missing = [
            f.name for f in fields if f.name not in values and f.default is dataclasses.MISSING
        ]
        if missing:
            raise CheckpointError(f"config.json has no {', '.join(missing)}")
        return cls(**{f.name: values[f.name] for f in fields if f.name in values})

    def to_dict(self) -> dict[str, Any]:
        """Return the object of a `config.json` that Hugging Face's Whisper reads, too."""
        return {
            "architectures": ["WhisperForConditionalGeneration"],
            "is_encoder_decoder": True,
            **_FIXED,
            **dataclasses.asdict(self),
            "num_hidden_layers": self.encoder_layers,
        }

    @property
    def is_multilingual(self) -> bool:
        """Whether the vocabulary is that of the multilingual models."""
        return self.vocab_size >= MULTILINGUAL_VOCAB_SIZE


@dataclass(frozen=True, slots=True)
class GenerationConfig:
    """Token ids that steer decoding, and the heads that give word times.

    Attributes:
        suppress_tokens: ids that are never sampled (symbols that are not speech, control tokens).
        begin_suppress_tokens: ids that cannot come first (a lone space, end of text).
        alignment_heads: (decoder layer, head) pairs whose cross-attention follows the speech.
        is_multilingual: whether the prompt holds a language and a task.
        lang_to_id: language code such as "en" to the id of its token; empty for English-only.
        task_to_id: "transcribe" and "translate" to their ids; empty for English-only.
        eos_token_id: end of text.
        decoder_start_token_id: start of transcript.
        prev_sot_token_id: opens the text that came before.
        no_speech_token_id: its probability at the first position tells silence.
        no_timestamps_token_id: asks for text without times; the next id is the time 0.00 s.
        max_initial_timestamp_index: the first time token is at most this many steps of 20 ms.
    """

    suppress_tokens: tuple[int, ...]
    begin_suppress_tokens: tuple[int, ...]
    alignment_heads: tuple[tuple[int, int], ...]
    is_multilingual: bool
    lang_to_id: dict[str, int]
    task_to_id: dict[str, int]
    eos_token_id: int
    decoder_start_token_id: int
    prev_sot_token_id: int
    no_speech_token_id: int
    no_timestamps_token_id: int
    max_initial_timestamp_index: int = 50

    @classmethod
    def from_dict(
        cls,
        values: Mapping[str, Any],
        config: WhisperConfig,
        tokenizer: "WhisperTokenizer",
    ) -> Self:
        """Read the object of a `generation_config.json`, which may be empty or have gaps.

        What is missing comes from the tokenizer, as OpenAI's decoder derives it. Alignment heads
        that are missing, or that belong to a deeper model (distilled ones inherit the file),
        become all heads of the upper half of the decoder.

        Raises:
            CheckpointError: an id lies outside the vocabulary.
        """
        multilingual = bool(values.get("is_multilingual", config.is_multilingual))
        languages = {_bare(k): int(v) for k, v in (values.get("lang_to_id") or {}).items()}
        tasks = {"transcribe": tokenizer.transcribe, "translate": tokenizer.translate}
        found = cls(
            suppress_tokens=_ids(values, "suppress_tokens", tokenizer.suppressed_by_default),
            begin_suppress_tokens=_ids(
                values, "begin_suppress_tokens", (*tokenizer.encode(" "), tokenizer.eot)
            ),
            alignment_heads=_alignment_heads(values.get("alignment_heads"), config),
            is_multilingual=multilingual,
            lang_to_id=(languages or dict(tokenizer.language_ids)) if multilingual else {},
            task_to_id=dict(values.get("task_to_id") or tasks) if multilingual else {},
            eos_token_id=tokenizer.eot,
            decoder_start_token_id=values.get("decoder_start_token_id", tokenizer.sot),
            prev_sot_token_id=values.get("prev_sot_token_id", tokenizer.sot_prev),
            no_speech_token_id=tokenizer.no_speech,
            no_timestamps_token_id=values.get("no_timestamps_token_id", tokenizer.no_timestamps),
            max_initial_timestamp_index=values.get("max_initial_timestamp_index") or 50,
        )
        found._check_ids(config.vocab_size)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the object of a `generation_config.json` that Hugging Face reads, too."""
        values = dataclasses.asdict(self)
        del values["no_speech_token_id"]
        if self.is_multilingual:
            values["lang_to_id"] = {f"<|{code}|>": i for code, i in self.lang_to_id.items()}
        else:
            del values["lang_to_id"], values["task_to_id"]
        eos = self.eos_token_id
        return {**values, "bos_token_id": eos, "pad_token_id": eos, "max_length": 448}

    def _check_ids(self, vocab_size: int) -> None:
        for name in ("suppress_tokens", "begin_suppress_tokens"):
            wrong = [i for i in getattr(self, name) if not 0 <= i < vocab_size]
            if wrong:
                raise CheckpointError(
                    f"{name} of generation_config.json holds {wrong[0]}, "
                    f"outside the vocabulary of {vocab_size}"
                )
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_token_id") and not 0 <= value < vocab_size:
                raise CheckpointError(
                    f"{field.name} {value} is outside the vocabulary of {vocab_size}"
                )


def _ids(values: Mapping[str, Any], name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    found = values.get(name)
    return tuple(default if found is None else found)


def _bare(token: str) -> str:
    return token.removeprefix("<|").removesuffix("|>")


def _alignment_heads(
    values: list[list[int]] | None, config: WhisperConfig
) -> tuple[tuple[int, int], ...]:
    layers, heads = config.decoder_layers, config.decoder_attention_heads
    pairs = tuple((int(layer), int(head)) for layer, head in values or ())
    if pairs and all(0 <= layer < layers and 0 <= head < heads for layer, head in pairs):
        return pairs
    if pairs:
        logger.warning("alignment_heads %s are of a deeper model: using the upper half", pairs)
    return tuple((layer, head) for layer in range(layers // 2, layers) for head in range(heads))
