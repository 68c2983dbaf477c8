"""An LLM with rows for speech beside its own.

The rows of speech are tables of their own, not further rows of the LLM's: so they learn in full
while the LLM is frozen or adapted by LoRA, its words stay what they were, and nothing is copied. Of
peft's ways, `modules_to_save` would copy and train the rows of all words too, and
`trainable_token_indices` writes the whole table anew in each step. `echoic.tts.unified.files` makes
one table of both for engines that want it.
"""

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoic.tts.unified.vocabulary import UnifiedVocabulary


class UnifiedLM(nn.Module):
    """A causal language model of text and codes.

    Args:
        backbone: causal LLM of `transformers`, of one of `MODEL_TYPES`.
        vocabulary: whose `text_size` is the LLM's.
        tied: one table of speech for input and output.

    Raises:
        ValueError: an LLM of another size.
    """

    def __init__(self, backbone: Any, vocabulary: UnifiedVocabulary, *, tied: bool) -> None:
        super().__init__()
        words, width = backbone.get_input_embeddings().weight.shape
        if words != vocabulary.text_size:
            raise ValueError(f"an LLM of {words} ids, expected {vocabulary.text_size}")
        self.backbone = backbone
        self.vocabulary = vocabulary
        self.rows = nn.Parameter(torch.zeros(vocabulary.rows, width))
        self.head_rows: nn.Parameter | None
        head = None if tied else nn.Parameter(torch.zeros(vocabulary.rows, width))
        self.register_parameter("head_rows", head)
        # Later releases of transformers call it by another name.
        named = inspect.signature(backbone.base_model.forward).parameters
        self._cache_name = "cache" if "cache" in named else "past_key_values"

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.rows.device

    @property
    def tied(self) -> bool:
        """Whether speech has one table for input and output."""
        return self.head_rows is None

    @property
    def speech_head(self) -> Tensor:
        """The table (rows, D) that speech is scored by."""
        return self.rows if self.head_rows is None else self.head_rows

    def embed(self, ids: Tensor) -> Tensor:
        """Return embeddings (..., D) of ids."""
        first = self.vocabulary.text_size
        words = self.backbone.get_input_embeddings()(ids.clamp(max=first - 1))
        speech = functional.embedding((ids - first).clamp(min=0), self.rows)
        return torch.where((ids >= first)[..., None], speech.to(words.dtype), words)

    def states(
        self,
        ids: Tensor,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Any = None,
    ) -> Tensor:
        """Return the states (B, L, D) behind each id.

        Args:
            ids: (B, L) int64.
            positions: (B, L) of each; None for 0 on, which is wrong where a cache is not empty.
            mask: (B, 1, L, L) True where a position (of the third axis) hears another; None for all
                before it.
            cache: keys and values of `transformers`, to be read and grown.
        """
        if positions is None:
            positions = torch.arange(ids.shape[1], device=ids.device)[None]
        more = {} if cache is None else {self._cache_name: cache}
        heard = self.backbone.base_model(
            inputs_embeds=self.embed(ids),
            position_ids=positions,
            attention_mask=mask,
            use_cache=cache is not None,
            **more,
        )
        return heard.last_hidden_state

    def scores(self, states: Tensor) -> Tensor:
        """Return the scores (..., V') of all ids behind states (..., D)."""
        words = self.backbone.get_output_embeddings()(states)
        return torch.cat([words, functional.linear(states, self.speech_head)], dim=-1)

    def scores_of(self, states: Tensor, ids: range) -> Tensor:
        """Return the scores (..., len(ids)) of some ids of speech alone."""
        first = self.vocabulary.text_size
        table = self.speech_head[ids.start - first : ids.stop - first]
        return functional.linear(states, table)
