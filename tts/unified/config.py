"""Which language model learns to speak, and how much of it."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

Targets = Literal["attention", "attention+mlp"]

#: Kinds of LLMs that are known to take embeddings, to hear all that came before, and to have a
#: plain head. Names in configs resolve here, and nowhere else.
MODEL_TYPES = ("llama", "qwen2", "qwen3")


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """Which products of the LLM get an adapter (Hu et al. 2021), and how wide.

    Attributes:
        rank: width.
        alpha: scale times rank; None for `rank`.
        targets: the attention alone, or the feed-forward layers too.
        dropout: of the adapters' inputs in training.

    Raises:
        ValueError: a number or name out of its range.
    """

    rank: int = 32
    alpha: int | None = None
    targets: Targets = "attention+mlp"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.rank < 1 or not 0 <= self.dropout < 1:
            raise ValueError(
                f"rank {self.rank}, dropout {self.dropout}: expected 1 or more, 0 to less than 1"
            )
        if self.targets not in get_args(Targets):
            raise ValueError(
                f"targets is {self.targets!r}, expected one of {', '.join(get_args(Targets))}"
            )


@dataclass(frozen=True, slots=True)
class UnifiedSettings:
    """What a recipe says of the model.

    Attributes:
        base: folder or Hugging Face id of an LLM, or the folder of an earlier stage; None where
            `architecture` says one.
        architecture: of an LLM from nothing: `model_type` and fields of its config in transformers;
            `vocab_size` is that of the text where it is left out.
        text: tokenizer: a folder, a Hugging Face id or "bytes"; None for that of `base`.
        tied: whether speech has one table for input and output; None as the LLM's text has it.
        lora: train adapters and the rows of speech; None trains all.
        codebooks: let the rows of speech begin as the codec's books; else they are drawn.
        gradient_checkpointing: compute layers twice and keep less in memory.

    Raises:
        ValueError: no model, or two; or a text that is none.
    """

    base: str | None = None
    architecture: dict[str, Any] | None = None
    text: str | None = None
    tied: bool | None = None
    lora: LoraSettings | None = None
    codebooks: bool = True
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        if (self.base is None) == (self.architecture is None):
            raise ValueError("give the model a `base` or an `architecture`, one of the two")
        if self.base is None and self.text is None:
            raise ValueError('a model from nothing needs a `text`: a tokenizer, or "bytes"')

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "UnifiedSettings":
        """Read what `asdict` made, from a checkpoint."""
        lora = values.get("lora")
        return cls(**{**values, "lora": None if lora is None else LoraSettings(**lora)})
