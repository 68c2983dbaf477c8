"""What the rows of speech are before they learn: the codec's books, in the size of words."""

import torch
from torch import Tensor

from echoic.codecs.codec import Codec
from echoic.codecs.quantize.quantizer import Quantizer
from echoic.tts.tokens import FrameFormat
from echoic.tts.unified.model import UnifiedLM


def books_of(codec: Codec, form: FrameFormat) -> Tensor:
    """Return the books (Q, K, d) of a codec, as far as frames of a format have them.

    Raises:
        ValueError: books that are not simply there, or others than the frames'.
    """
    quantizer = codec.quantizer
    if type(quantizer) is not Quantizer:
        raise ValueError(
            f"the books of a {codec.kind} are not of one kind: say codebooks: false, and the rows "
            "of speech are drawn"
        )
    books = quantizer.codebooks.books.detach().float().cpu().flatten(0, 1)[: form.num_codebooks]
    expected = (form.num_codebooks, form.codebook_size)
    if books.shape[:2] != expected:
        raise ValueError(f"a codec of books {tuple(books.shape[:2])}, expected {expected}")
    return books


@torch.no_grad()
def start_rows(model: UnifiedLM, books: Tensor | None, seed: int) -> None:
    """Set the rows of speech of a model, in place.

    Codes near each other in the codec begin near each other. Each book has the mean and the spread
    of the words in each dimension, whatever its residual layer: rows of another size would be
    unheard, or drown the words. Controls are drawn with the same.

    Args:
        model: whose rows they are.
        books: (Q, K, d); None to draw all.
        seed: of what is drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    vocabulary, width = model.vocabulary, model.rows.shape[1]
    codes = vocabulary.format.num_codebooks * vocabulary.format.codebook_size
    drawn = torch.randn(vocabulary.rows, width, generator=generator, device="cpu")
    if books is not None:
        projected = [_projected(book, width, generator) for book in books]
        drawn[:codes] = torch.cat([_standard(book) for book in projected])
    _like(model.rows, drawn, model.backbone.get_input_embeddings().weight)
    if model.head_rows is not None:
        _like(model.head_rows, drawn, model.backbone.get_output_embeddings().weight)


def _projected(book: Tensor, width: int, generator: torch.Generator) -> Tensor:
    if book.shape[1] == width:
        return book
    # Random directions keep distances (Johnson & Lindenstrauss 1984); books have their own.
    basis = torch.randn(book.shape[1], width, generator=generator, device="cpu")
    return book @ basis


def _standard(book: Tensor) -> Tensor:
    spread = book.std(dim=0, keepdim=True).clamp(min=1e-8)
    return (book - book.mean(dim=0, keepdim=True)) / spread


def _like(rows: Tensor, values: Tensor, words: Tensor) -> None:
    words = words.float()
    mean, spread = words.mean(dim=0), words.std(dim=0)
    rows.copy_(values.to(words.device) * spread + mean)
