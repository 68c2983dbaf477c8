"""The training of a speech tokenizer as a Lightning module."""

from typing import Any, NamedTuple

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional

from echoic.asr.tokenizer.book import book_of, check_quantizer
from echoic.asr.tokenizer.config import TokenizerConfig
from echoic.asr.tokenizer.model import TokenizerModel
from echoic.asr.tokenizer.recognizer import Writer
from echoic.asr.tokenizer.training.watch import Watch, told
from echoic.asr.whisper.checkpoint import load_checkpoint
from echoic.asr.whisper.encoder import EncodedWindows
from echoic.asr.whisper.training.datamodule import INITIAL_MAX
from echoic.asr.whisper.training.optimizer import OptimizerConfig, make_optimizer
from echoic.asr.whisper.training.plan import IGNORED
from echoic.asr.whisper.training.whole import WholeBatch, decode_whole

#: What a checkpoint of `SpeechTokenizerTask` holds beside Lightning's own keys.
TOKENIZER_KEY = "speech_tokenizer"


class TokenizerLoss(NamedTuple):
    """A loss and what is behind it.

    Attributes:
        total: what is minimised.
        text: cross entropy of the tokens.
        commitment: mean squared distance of the states from their codes.
        codes: (n,) int64, all that count.
        encoded: what the decoder listened to.
    """

    total: Tensor
    text: Tensor
    commitment: Tensor
    codes: Tensor
    encoded: EncodedWindows


class SpeechTokenizerTask(lightning.LightningModule):
    """Makes a tokenizer of a Whisper: a book of codes between its layers, and recognition goes on.

    After Zeng et al. 2024 (arXiv 2412.02612, section 2.1). All of the model learns. A run that was
    stopped and goes on from its checkpoint has the losses of one that was not.

    Args:
        quantizer: one book for the model's width, such as
            `echoic.codecs.quantize.quantizer.Quantizer`.
        base: name or folder of the model to begin with.
        language: code of the speech, for multilingual models.
        layers: of the encoder in front of the codes; None for half of them.
        pooling: frames of 20 ms that become one code.
        block: frames of 20 ms in which attention is free.
        commitment: weight of the distance between states and codes.
        label_smoothing: share of each target that is spread over all tokens.
        words: utterances that are recognised in a validation, for the word error rate of the codes;
            0 for none.
        optimizer: how the model learns.

    Raises:
        CheckpointError: no such model, or sizes that do not fit it.
        ValueError: a quantizer that does not fit it.
    """

    def __init__(
        self,
        quantizer: torch.nn.Module,
        base: str = "tiny.en",
        language: str = "en",
        layers: int | None = None,
        pooling: int = 4,
        block: int = 100,
        commitment: float = 10.0,
        label_smoothing: float = 0.0,
        words: int = 64,
        optimizer: OptimizerConfig | None = None,
    ) -> None:
        super().__init__()
        checkpoint = load_checkpoint(base)
        sizes = checkpoint.config
        self.config = TokenizerConfig(
            whisper=sizes,
            layers=max(1, sizes.encoder_layers // 2) if layers is None else layers,
            pooling=pooling,
            block=block,
            codebook_size=check_quantizer(quantizer, sizes.d_model),
            initial_max=INITIAL_MAX,
        )
        self.base = base
        self.language = language
        self.commitment = commitment
        self.label_smoothing = label_smoothing
        default = OptimizerConfig(learning_rate=1e-4)
        self.optimizer_config = default if optimizer is None else optimizer
        self.quantizer = quantizer
        self.model = TokenizerModel.of_whisper(self.config, checkpoint.state)
        writer = Writer(
            self.config, self.model.decoder, checkpoint.generation, checkpoint.tokenizer
        )
        self.watch = Watch(writer, language, words)

    def forward(self, batch: WholeBatch) -> TokenizerLoss:
        """Return the loss of a batch."""
        model = self.model
        states, mask = model.front(batch.mel, batch.lengths)
        found = self.quantizer(states.transpose(1, 2), mask=mask)
        encoded = model.back(found.values.transpose(1, 2).to(states.dtype), mask)
        hidden = decode_whole(model.decoder, batch.tokens, encoded)
        asked = batch.targets != IGNORED
        smoothing = self.label_smoothing if self.training else 0.0
        text = functional.cross_entropy(
            model.decoder.logits(hidden[asked]), batch.targets[asked], label_smoothing=smoothing
        )
        total = text + self.commitment * found.commitment + found.codebook_loss
        return TokenizerLoss(total, text, found.commitment, found.codes[:, 0][mask], encoded)

    def training_step(self, batch: WholeBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        loss = self(batch)
        self._log("train", loss, batch)
        return loss.total

    def on_validation_epoch_start(self) -> None:
        """Begin to count."""
        self.watch.begin()

    def validation_step(self, batch: WholeBatch, batch_idx: int) -> None:
        """Log the loss of a batch, and watch its codes."""
        loss = self(batch)
        self._log("val", loss, batch)
        self.watch.see(loss.codes, loss.encoded, batch.targets)

    def on_validation_epoch_end(self) -> None:
        """Log how much of the book is used, and what can be recognised by the codes."""
        tally = self.trainer.strategy.reduce(self.watch.tally(self.device), reduce_op="sum")
        assert isinstance(tally, Tensor)
        self.log_dict({f"val/{k}": value for k, value in told(tally).items()}, sync_dist=True)

    def _log(self, stage: str, loss: TokenizerLoss, batch: WholeBatch) -> None:
        parts = {"loss": loss.total, "text": loss.text, "commitment": loss.commitment}
        values = {f"{stage}/{name}": value.detach() for name, value in parts.items()}
        self.log_dict(values, batch_size=len(batch.mel), sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW and its schedule.

        Raises:
            ValueError: nothing says when the run ends.
        """
        return make_optimizer(self.parameters(), self.optimizer_config, self.trainer.max_steps)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what an export needs: the sizes, and the codes as they are now."""
        checkpoint[TOKENIZER_KEY] = {
            "base": self.base,
            "language": self.language,
            "config": self.config.to_dict(),
            "book": book_of(self.quantizer, self.config.whisper.d_model),
        }
