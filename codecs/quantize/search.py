"""The search at inference: packed books, and a projection folded into them."""

from typing import Any

import torch
from torch import Tensor, nn

from echoic.codecs.quantize.codebooks import Codebooks
from echoic.codecs.quantize.fold import fold_in_projection
from echoic.cuda_ext.ops import Mode, nearest_code, pack_codebooks, residual_quantize

# Codes of fewer channels are searched faster without a screen.
SCREEN_WIDTH = 32


class Search:
    """Finds the codes of latents; prepares the books once, and again after they have changed.

    One book behind a projection from fewer channels is searched in front of the projection, where
    vectors are shorter: the codes are the same (`fold_in_projection`).

    Args:
        codebooks: the books; followed, not copied.
        project_in: the projection to them, if there is one.
    """

    def __init__(self, codebooks: Codebooks, project_in: nn.Linear | None) -> None:
        self.codebooks = codebooks
        self.project_in = project_in
        self._made_for: Any = None
        self._prepared: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what can be prepared again; a copied quantizer copies the rest with it."""
        return self.__dict__ | {"_made_for": None, "_prepared": None}

    @property
    def folds(self) -> bool:
        """Whether the projection is folded into the book."""
        config = self.codebooks.config
        wider = config.codebook_dim is not None and config.codebook_dim > config.dim
        return wider and config.num_codebooks == 1 and config.masked_layers == 0

    @property
    def mode(self) -> Mode:
        """How books are searched: the codes are the same either way."""
        config = self.codebooks.config
        width = config.dim if self.folds else config.book_width // config.num_groups
        return "screened" if width >= SCREEN_WIDTH else "exact"

    def codes(self, rows: Tensor, masks: Tensor | None, layers: int) -> Tensor:
        """Return the codes (N, layers * G) of rows (N, dim)."""
        prepared = self._prepare(layers)
        if self.folds:
            return nearest_code(rows.contiguous(), prepared, mode=self.mode)[:, None]
        if self.project_in is not None:
            rows = self.project_in(rows)
        masks = None if masks is None else masks[:layers]
        found = residual_quantize(rows.contiguous(), prepared, masks, mode=self.mode)
        return found.codes.flatten(1)

    def _prepare(self, layers: int) -> Any:
        books = self.codebooks.books
        watched = [books]
        if self.project_in is not None:
            watched += [self.project_in.weight, self.project_in.bias]
        made_for = (layers, *((t.data_ptr(), t._version, t.device) for t in watched))
        if made_for != self._made_for:
            self._prepared = self._make(books[:layers].detach())
            self._made_for = made_for
        return self._prepared

    @torch.no_grad()
    def _make(self, books: Tensor) -> Any:
        if not self.folds:
            return pack_codebooks(books, mode=self.mode)
        assert self.project_in is not None
        project = self.project_in
        book, offsets = fold_in_projection(project.weight, project.bias, books[0, 0])
        return pack_codebooks(book, offsets, mode=self.mode)
