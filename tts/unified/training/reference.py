"""What a model was before it learned to prefer."""

import copy
from collections.abc import Generator
from contextlib import contextmanager

from torch import nn

from echoic.tts.unified.lora import has_lora, without_lora
from echoic.tts.unified.model import UnifiedLM


class Reference(nn.Module):
    """A model as it is now, kept.

    With LoRA only the rows of speech are copied: the rest of the model does not change, and its
    adapters can be turned off. They must be fresh: what is kept is the model without them.

    Args:
        model: to be kept.
    """

    def __init__(self, model: UnifiedLM) -> None:
        super().__init__()
        self._copy: UnifiedLM | None = None
        self._rows: nn.ParameterList | None = None
        if has_lora(model.backbone):
            self._rows = nn.ParameterList(table.detach().clone() for table in _tables(model))
        else:
            self._copy = copy.deepcopy(model)
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> "Reference":
        """Stay in evaluation mode: it never learns."""
        return super().train(False)

    @contextmanager
    def of(self, model: UnifiedLM) -> Generator[UnifiedLM, None, None]:
        """Yield the model as it was, in evaluation mode; without gradients, please.

        Args:
            model: the same as it is now; with LoRA it is what is yielded, until the context ends.
        """
        if self._copy is not None:
            yield self._copy
            return
        assert self._rows is not None
        mode, tables = model.training, _tables(model)
        now = [table.data for table in tables]
        for table, before in zip(tables, self._rows, strict=True):
            table.data = before.data
        model.eval()
        try:
            with without_lora(model.backbone):
                yield model
        finally:
            model.train(mode)
            for table, own in zip(tables, now, strict=True):
                table.data = own


def _tables(model: UnifiedLM) -> list[nn.Parameter]:
    return [model.rows] if model.head_rows is None else [model.rows, model.head_rows]
