"""What a validation tells of a tokenizer: how its book is used, and what its codes say."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from echoic.asr.metrics import word_error_rate
from echoic.asr.text.normalizers import for_language
from echoic.asr.tokenizer.recognizer import Writer
from echoic.asr.whisper.encoder import EncodedWindows
from echoic.asr.whisper.training.plan import IGNORED


@dataclass
class Watch:
    """Counts over the batches of a validation.

    Attributes:
        writer: recognises.
        language: of the speech.
        words: utterances to recognise.
        said: pairs of what was said and what was recognised.
        counts: (K,) how often each code occurred; None before the first batch.
    """

    writer: Writer
    language: str
    words: int
    said: list[tuple[str, str]] = field(default_factory=list)
    counts: Tensor | None = None

    def begin(self) -> None:
        """Forget what was counted."""
        self.said, self.counts = [], None

    def see(self, codes: Tensor, encoded: EncodedWindows, targets: Tensor) -> None:
        """Count a batch.

        Args:
            codes: (n,) int64.
            encoded: what the decoder listens to.
            targets: int64 (B, L), the texts; `IGNORED` where there is none.
        """
        counts = torch.bincount(codes, minlength=self.writer.config.codebook_size)
        self.counts = counts if self.counts is None else self.counts + counts
        rows = min(len(targets), self.words - len(self.said))
        if rows < 1:
            return
        text, end = self.writer.text, self.writer.generation.eos_token_id
        told = [text.decode(r[(r != IGNORED) & (r != end)].tolist()) for r in targets[:rows]]
        with torch.autocast(targets.device.type, enabled=False):
            some = EncodedWindows(encoded.states[:rows].float(), encoded.log_counts[:rows])
            heard = self.writer.write(some, self.language)
        self.said += zip(told, heard, strict=True)

    def tally(self, device: torch.device) -> Tensor:
        """Return what was counted, float32 (K + 2,): codes, words in error, words.

        Tallies of several processes can be added up.
        """
        size = self.writer.config.codebook_size
        counts = torch.zeros(size) if self.counts is None else self.counts.float()
        errors = words = 0
        if self.said:
            told, heard = zip(*self.said, strict=True)
            rate = word_error_rate(told, heard, for_language(self.language))
            errors, words = rate.errors, rate.num_words
        both = torch.tensor([errors, words], dtype=torch.float32)
        return torch.cat([counts.cpu(), both]).to(device)


def told(tally: Tensor) -> dict[str, float]:
    """Return the figures of a tally.

    Returns:
        `perplexity`, exp of the entropy of how often each code occurs, 1 to K; `used`, the share of
        the codes that occur; and, where words were said, `wer`.
    """
    counts = tally[:-2].double().cpu()
    share = counts / counts.sum().clamp(min=1.0)
    entropy = -torch.special.xlogy(share, share).sum()
    values = {"perplexity": float(entropy.exp()), "used": float((counts > 0).double().mean())}
    errors, words = tally[-2:].tolist()
    return values | ({"wer": errors / words} if words else {})
