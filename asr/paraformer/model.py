"""The Paraformer model: features or sound in, all tokens out in one pass.

Gao et al. 2022, "Paraformer: Fast and Accurate Parallel Transformer for Non-autoregressive
End-to-End Speech Recognition" (arXiv 2206.08317).

```python
model = Paraformer.from_pretrained("a/folder")
model.recognize(wav[None])[0].text
```
"""

from pathlib import Path
from typing import NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from echoic.asr.arithmetic import Kind, check
from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer import checkpoint
from echoic.asr.paraformer.arithmetic import apply, choose, large_layers
from echoic.asr.paraformer.chooser import Chooser
from echoic.asr.paraformer.cif_predictor import CifPredictor
from echoic.asr.paraformer.config import ParaformerConfig
from echoic.asr.paraformer.ctc import CtcHead, aligned_runs
from echoic.asr.paraformer.ctc_predictor import CtcPredictor
from echoic.asr.paraformer.decoder import Decoder
from echoic.asr.paraformer.encoder import Encoder
from echoic.asr.paraformer.frontend import Frontend
from echoic.asr.paraformer.fusion import Fusion, read_fusion, weighed, write_fusion
from echoic.asr.paraformer.heard import Heard, HeardWhole
from echoic.asr.paraformer.hotwords import HotWords
from echoic.asr.paraformer.losses import (
    Losses,
    accuracy,
    combine,
    ctc_loss,
    placing_loss,
    quantity_loss,
    token_loss,
)
from echoic.asr.paraformer.pif_predictor import PifPredictor
from echoic.asr.paraformer.predictor import Prediction, Predictor
from echoic.asr.paraformer.recognition import NOTHING, Recognition, read_out
from echoic.asr.paraformer.sampler import glance
from echoic.asr.paraformer.sanm import length_mask
from echoic.asr.paraformer.spike_predictor import SpikePredictor
from echoic.asr.paraformer.streaming.chunks import Chunks
from echoic.asr.paraformer.streaming.whole import hear_in_chunks
from echoic.asr.paraformer.tokenizer import END, Tokenizer
from echoic.asr.paraformer.utterances import features_of


class TeacherPass(NamedTuple):
    """What a training step computed.

    Attributes:
        logits: (B, N, V) of the pass that learns.
        guesses: (B, N) ids of the pass without embeddings of labels.
        labels: (B, N) with the end token, where the model has one.
        lengths: (B,) of the labels.
        prediction: of the predictor.
        hidden: (B, T, D) of the encoder.
        ctc_logits: (B, T, V), None without a CTC head.
    """

    logits: Tensor
    guesses: Tensor
    labels: Tensor
    lengths: Tensor
    prediction: Prediction
    hidden: Tensor
    ctc_logits: Tensor | None


class Paraformer(nn.Module):
    """Frontend, encoder, predictor and decoder, with the vocabulary.

    Args:
        config: sizes.
        tokenizer: vocabulary.

    Attributes:
        fusion: n-grams that help to choose tokens, None without; they take no part in training.
        arithmetic: that `to_inference` chose; None before.

    Raises:
        CheckpointError: a vocabulary of another size.
    """

    def __init__(self, config: ParaformerConfig, tokenizer: Tokenizer) -> None:
        super().__init__()
        if len(tokenizer) != config.vocab_size:
            raise CheckpointError(
                f"the vocabulary has {len(tokenizer)} tokens, the model {config.vocab_size}: they "
                "do not belong together"
            )
        self.config = config
        self.tokenizer = tokenizer
        self.arithmetic: Kind | None = None
        dim, kind = config.encoder.dim, config.predictor.kind
        self.frontend = Frontend(config.frontend)
        self.encoder = Encoder(config.frontend, config.encoder)
        self.predictor: Predictor
        if kind == "ctc":
            self.predictor = CtcPredictor(dim, config.vocab_size)
        elif kind == "spikes":
            self.predictor = SpikePredictor(dim, config.vocab_size, config.predictor)
        elif kind == "pif":
            self.predictor = PifPredictor(dim, config.predictor)
        else:
            self.predictor = CifPredictor(dim, config.predictor)
        self.decoder = Decoder(config.vocab_size, dim, config.decoder)
        apart = config.has_ctc and kind not in ("ctc", "spikes")
        self.ctc = CtcHead(dim, config.vocab_size) if apart else None
        self.fusion: Fusion | None = None

    @classmethod
    def from_pretrained(
        cls,
        name_or_dir: str | Path,
        *,
        revision: str | None = None,
        ngram_weight: float | None = None,
    ) -> Self:
        """Load a model, ready to recognise, on the CPU in float32.

        Args:
            name_or_dir: a name in the box, a Hugging Face id, or a folder with `config.json`,
                `model.safetensors` and `tokens.json`.
            revision: branch, tag or commit of a Hugging Face repository.
            ngram_weight: of its n-grams beside the sound, 0 for none of them; None for its own.

        Raises:
            CheckpointError: not found or not a whole model, in one line that says why.
            ValueError: a weight below 0, or one of n-grams that are not there.
        """
        folder = checkpoint.find_folder(name_or_dir, revision)
        config, tokenizer = checkpoint.read_settings(folder)
        with torch.device("meta"):
            model = cls(config, tokenizer)
        checkpoint.read_weights(model, folder)
        model.fusion = read_fusion(folder, config.vocab_size)
        if ngram_weight is not None:
            model.fusion = weighed(model.fusion, ngram_weight)
        # What is computed, not stored: windows and filters.
        model.frontend = Frontend(
            config.frontend, model.frontend.cmvn.shift, model.frontend.cmvn.scale
        )
        return model.eval()

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        description: str = "",
        precision: checkpoint.Precision = "float32",
    ) -> None:
        """Write a folder that `from_pretrained` reads.

        Args:
            folder: made if it does not exist.
            description: one line for lists of models, kept in `config.json`.
            precision: of the stored weights; they are float32 again when they are loaded.

        Raises:
            CheckpointError: the model was turned to inference, in which its weights have no form
                that can be stored.
        """
        self.check_whole("save")
        # As they are multiplied: see `arithmetic.choose`.
        rows = {f"{name}.weight" for name, _ in large_layers(self.encoder, self.decoder)}
        checkpoint.save(
            self, self.config, self.tokenizer, Path(folder), description, precision, rows
        )
        write_fusion(self.fusion, Path(folder))

    def check_whole(self, wish: str) -> None:
        """Raise `CheckpointError` where `to_inference` has changed the weights' form for good.

        Args:
            wish: what cannot be done with them, as a verb.
        """
        if self.arithmetic is not None:
            raise CheckpointError(
                f"the model was turned to inference in {self.arithmetic}: load it again to {wish} "
                "it"
            )

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.encoder.norm.weight.device

    def to_inference(self, *, device: torch.device, dtype: str = "auto") -> Self:
        """Move to a device and turn to its fastest arithmetic, or the given one, for good.

        Args:
            device: where to compute.
            dtype: "auto" measures what is fastest there, and on a CPU leaves the text of a model
                whose weights are bytes as it is; else one of `arithmetic.KINDS`.

        Raises:
            ValueError: a dtype that this device cannot compute in.
        """
        if dtype != "auto":
            check(dtype, device)
        stacks = self.to(device).encoder, self.decoder
        self.arithmetic = (
            choose(*stacks, device, self.config) if dtype == "auto" else cast(Kind, dtype)
        )
        apply(*stacks, self.arithmetic)
        return self.eval()

    def encode(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Encode features (B, T, F), T >= 1, of which lengths (B,) count, as (B, T, D).

        Frames beyond an utterance's length are 0, unless `compat` asks for FunASR's.
        """
        hidden = self.encoder(features, lengths)
        if self.config.compat:
            return hidden
        return hidden * length_mask(lengths, hidden.shape[1])[:, :, None]

    def hear(
        self,
        features: Tensor,
        lengths: Tensor,
        chunks: Chunks | None = None,
        before: Tensor | None = None,
    ) -> Heard:
        """Encode a batch as a whole, or as streams that are cut into chunks; see `teach`.

        Args:
            features: (B, T, F), T >= 1.
            lengths: (B,) frames that count.
            chunks: None for the whole.
            before: (B,) int64 frames that the places of streams are counted behind.
        """
        if chunks is None:
            hidden = self.encode(features, lengths)
            return HeardWhole(self.predictor, self.decoder, hidden, lengths)
        parts = self.encoder, self.predictor, self.decoder
        return hear_in_chunks(*parts, features, lengths, chunks, before)

    def decode(self, prediction: Prediction, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Score the tokens that were predicted: logits (B, N, V)."""
        return self.decoder(prediction.tokens, prediction.counts, hidden, lengths)

    def ctc_logits(self, hidden: Tensor, prediction: Prediction | None = None) -> Tensor | None:
        """Return the CTC's logits (B, T, V), None where the model has no such head."""
        if self.ctc is not None:
            return self.ctc(hidden)
        return prediction.ctc_logits if prediction is not None else None

    def teach(
        self,
        features: Tensor,
        lengths: Tensor,
        labels: Tensor,
        label_lengths: Tensor,
        generator: torch.Generator | None = None,
        sampling: float | None = None,
        chunks: Chunks | None = None,
    ) -> TeacherPass:
        """Run both passes of a training step; see `forward`.

        Args:
            features: see there, as the following ones.
            lengths: of the features.
            labels: ids.
            label_lengths: of the labels.
            generator: of the sampler.
            sampling: see `ObjectiveConfig`, whose value None stands for.
            chunks: hear the batch as a stream that is cut so would be heard; None: as a whole.
        """
        if sampling is None:
            sampling = self.config.objective.sampling
        if self.config.end_token:
            labels, label_lengths = _with_end(labels, label_lengths)
        labels = labels.clamp(min=0)
        before, period = None, self.config.encoder.period
        if period and self.training:
            before = torch.randint(period, (len(features),), generator=generator).to(lengths)
        heard = self.hear(features, lengths, chunks, before)
        prediction = heard.predict(labels, label_lengths)
        with torch.no_grad():
            guesses = heard.decode(prediction, prediction.tokens, prediction.counts).argmax(-1)
            chosen = glance(guesses, labels, label_lengths, sampling, generator)
        mixed = torch.where(chosen[:, :, None], self.decoder.embed(labels), prediction.tokens)
        logits = heard.decode(prediction, mixed, label_lengths)
        ctc = self.ctc_logits(heard.hidden, prediction)
        return TeacherPass(logits, guesses, labels, label_lengths, prediction, heard.hidden, ctc)

    def forward(
        self,
        features: Tensor,
        lengths: Tensor,
        labels: Tensor,
        label_lengths: Tensor,
        generator: torch.Generator | None = None,
        chunks: Chunks | None = None,
    ) -> Losses:
        """Compute what training minimises.

        Args:
            features: (B, T, F).
            lengths: (B,) int64 frames that count.
            labels: (B, L) int64 ids without an end token; what stands beyond the length does not
                matter.
            label_lengths: (B,) int64 labels that count.
            generator: on the CPU, of the sampler.
            chunks: see `teach`.
        """
        done = self.teach(features, lengths, labels, label_lengths, generator, chunks=chunks)
        return self.losses(done, lengths, labels, label_lengths)

    def losses(
        self, done: TeacherPass, lengths: Tensor, labels: Tensor, label_lengths: Tensor
    ) -> Losses:
        """Weigh what `teach` computed of the same lengths and labels."""
        objective = self.config.objective
        per_token = objective.per_token
        logits = done.ctc_logits
        return combine(
            token_loss(
                done.logits,
                done.labels,
                done.lengths,
                objective.label_smoothing,
                per_token=per_token,
            ),
            quantity_loss(done.prediction.quantity, done.lengths, per_token=per_token),
            None if logits is None else ctc_loss(logits, lengths, labels, label_lengths),
            self._placing(done, lengths, labels, label_lengths),
            accuracy(done.guesses, done.labels, done.lengths),
            objective,
        )

    def _placing(
        self, done: TeacherPass, lengths: Tensor, labels: Tensor, label_lengths: Tensor
    ) -> Tensor | None:
        if not self.config.objective.placing or done.ctc_logits is None:
            return None
        log_probs = done.ctc_logits.float().log_softmax(-1)
        runs = aligned_runs(log_probs, lengths, labels, label_lengths)
        per_token = self.config.objective.per_token
        weights = done.prediction.weights
        return placing_loss(weights, runs, lengths, done.lengths, per_token=per_token)

    @torch.inference_mode()
    def recognize(
        self, sound: Tensor, lengths: Tensor | None = None, *, hotwords: HotWords | None = None
    ) -> list[Recognition]:
        """Recognise a batch of utterances, each as if it were alone.

        Args:
            sound: waveforms (B, n) in [-1, 1], or features (B, T, F).
            lengths: (B,) samples or frames that count; None for all.
            hotwords: to expect, written with this model's tokenizer.

        Raises:
            ValueError: another shape, lengths that do not fit, NaN or infinity, an utterance of
                more than `max_frames` stacked frames (60 ms each): cut recordings at pauses first;
                or hot words of another vocabulary.
        """
        if hotwords is not None:
            hotwords.check(self.tokenizer)
        training = self.training
        self.eval()
        try:
            return self._recognize(sound, lengths, hotwords)
        finally:
            self.train(training)

    def _recognize(
        self, sound: Tensor, lengths: Tensor | None, hotwords: HotWords | None
    ) -> list[Recognition]:
        features, lengths = features_of(sound, lengths, self.frontend, self.config.max_frames)
        if features.shape[1] == 0 or len(features) == 0:
            return [NOTHING] * len(features)
        hidden = self.encode(features, lengths)
        prediction = self.predictor(hidden, lengths)
        logits = self.decode(prediction, hidden, lengths)
        chooser = Chooser(hotwords, self.fusion)
        return read_out(logits, prediction, lengths, self.config, self.tokenizer, chooser)


def _with_end(labels: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    longer = torch.cat([labels, labels.new_zeros(len(labels), 1)], dim=1)
    return longer.scatter(1, lengths[:, None], END), lengths + 1
