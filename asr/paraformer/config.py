"""Sizes and switches of a Paraformer, one frozen dataclass for each part.

The same object is the YAML section of a training and the `config.json` of a model.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.streaming.chunks import Chunks

PredictorKind = Literal["cif", "pif", "ctc", "spikes"]
PredictorConv = Literal["full", "depthwise"]
Features = Literal["fbank", "log_mel"]
WindowName = Literal["hamming", "povey", "hann"]
Activation = Literal["relu", "gelu"]

MODEL_TYPE = "paraformer"


@dataclass(frozen=True, slots=True)
class FrontendConfig:
    """Features: log filter banks, stacked to a lower rate, normalised by stored statistics.

    Attributes:
        features: "fbank" are Kaldi's; "log_mel" Whisper's, below the loudest band so far, whose
            window and frames are given.
        sample_rate: Hz.
        num_mels: bands.
        frame_length: samples in a frame.
        hop_length: samples between two frames.
        window: "hamming", "povey" or "hann", of "fbank".
        lfr_m: frames in a stack.
        lfr_n: frames between two stacks.
    """

    features: Features = "fbank"
    sample_rate: int = 16_000
    num_mels: int = 80
    frame_length: int = 400
    hop_length: int = 160
    window: WindowName = "hamming"
    lfr_m: int = 7
    lfr_n: int = 6

    def __post_init__(self) -> None:
        _positive(self, "sample_rate", "num_mels", "frame_length", "hop_length", "lfr_m", "lfr_n")
        _choice(self, "features", get_args(Features))
        _choice(self, "window", get_args(WindowName))
        if self.features == "log_mel" and (
            self.sample_rate, self.frame_length, self.hop_length
        ) != (16_000, 400, 160):  # fmt: skip
            raise CheckpointError(
                "frontend: log_mel has frames of 400 samples every 160 at 16000 Hz, not of "
                f"{self.frame_length} every {self.hop_length} at {self.sample_rate}"
            )
        if self.lfr_n > self.lfr_m:
            raise CheckpointError(f"frontend: lfr_n is {self.lfr_n}, more than lfr_m {self.lfr_m}")

    @property
    def num_features(self) -> int:
        """Width of a stacked frame."""
        return self.num_mels * self.lfr_m

    @property
    def frame_seconds(self) -> float:
        """Seconds from one stacked frame to the next."""
        return self.hop_length * self.lfr_n / self.sample_rate

    @property
    def frame_offset(self) -> float:
        """Seconds at which the first stacked frame begins to stand for the sound.

        A stack is centred on its middle frame, and that on the middle of its window, which for
        "log_mel" begins before the sound.
        """
        begin = 0 if self.features == "log_mel" else self.frame_length
        return (begin - self.hop_length * self.lfr_n) / 2 / self.sample_rate


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """Attention with a memory (SAN-M).

    Attributes:
        dim: width of the model; the decoder's, too.
        layers: blocks.
        heads: of the attention.
        ffn_dim: inner width of the feed-forward layers.
        kernel_size: frames that the memory sees.
        shift: by how many of them the memory looks back further than ahead; 0 is symmetric.
        dropout: share of values dropped in training.
        activation: between the feed-forward layers.
        stem: whether two convolutions begin, as in Whisper; else features are only scaled.
        period: frames after which places are counted anew, 0 for never. A stream of any length then
            has no places that training had not; streams of training begin anywhere in it.
    """

    dim: int = 512
    layers: int = 50
    heads: int = 4
    ffn_dim: int = 2048
    kernel_size: int = 11
    shift: int = 0
    dropout: float = 0.1
    activation: Activation = "relu"
    stem: bool = False
    period: int = 0

    def __post_init__(self) -> None:
        _positive(self, "dim", "layers", "heads", "ffn_dim", "kernel_size")
        _choice(self, "activation", get_args(Activation))
        _natural(self, "period", "shift")
        _check_block(self, self.dim)


@dataclass(frozen=True, slots=True)
class PredictorConfig:
    """How many tokens were spoken, and what of the sound belongs to each.

    Attributes:
        kind: "cif" integrates weights until they reach 1 and fires; "pif" lets every token attend
            to its place on the running sum; "ctc" averages the runs of a CTC's posteriors;
            "spikes" fires where these runs begin.
        conv: of "cif" and "pif": "full" over all channels, or "depthwise" with a skip connection.
        left: frames that it sees before the frame of the weight.
        right: frames that it sees after.
        tail: weight of one silent frame behind the last, so that a token nearly complete is not
            lost; at inference, "cif" only.
        smooth_factor: factor on the sigmoid of a weight.
        noise_threshold: taken off a weight; what falls below 0 is 0.
        heads: of "pif".
        dropout: share of values dropped in training, "depthwise" only.
    """

    kind: PredictorKind = "cif"
    conv: PredictorConv = "full"
    left: int = 1
    right: int = 1
    tail: float = 0.45
    smooth_factor: float = 1.0
    noise_threshold: float = 0.0
    heads: int = 4
    dropout: float = 0.1

    def __post_init__(self) -> None:
        _choice(self, "kind", get_args(PredictorKind))
        _choice(self, "conv", get_args(PredictorConv))
        _positive(self, "heads")
        _natural(self, "left", "right")
        _share(self, "tail", "dropout")
        if not (self.smooth_factor > 0 and self.noise_threshold >= 0):
            raise CheckpointError(
                f"smooth_factor is {self.smooth_factor} and noise_threshold "
                f"{self.noise_threshold}, expected above 0, and 0 or more"
            )


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """The decoder sees all tokens at once.

    Attributes:
        layers: blocks, without the feed-forward block behind them.
        cross_layers: the first so many look at the encoder's output.
        heads: of that attention.
        ffn_dim: inner width of the feed-forward layers.
        kernel_size: tokens that the memory sees.
        shift: by how many of them the memory looks back further than ahead; (kernel_size - 1) / 2
            is causal.
        dropout: share of values dropped in training.
    """

    layers: int = 16
    cross_layers: int = 16
    heads: int = 4
    ffn_dim: int = 2048
    kernel_size: int = 11
    shift: int = 0
    dropout: float = 0.1

    def __post_init__(self) -> None:
        _positive(self, "layers", "cross_layers", "heads", "ffn_dim", "kernel_size")
        _natural(self, "shift")
        _check_block(self, None)
        if self.cross_layers > self.layers:
            raise CheckpointError(
                f"decoder: cross_layers is {self.cross_layers}, of {self.layers} layers"
            )


@dataclass(frozen=True, slots=True)
class ObjectiveConfig:
    """What training minimises: `ctc * CTC + (1 - ctc) * CE + quantity * |length error|`.

    Attributes:
        label_smoothing: probability given to all tokens but the right one.
        per_token: divide by tokens; else by utterances.
        quantity: weight of the error of the predicted length.
        ctc: weight of the CTC loss; above 0 the model has a CTC head.
        sampling: share of the wrong tokens whose place is filled with a label's embedding.
        placing: weight of a further loss: how far tokens are from where the CTC hears them; 0 lets
            them be anywhere, as published.
    """

    label_smoothing: float = 0.1
    per_token: bool = True
    quantity: float = 1.0
    ctc: float = 0.0
    sampling: float = 0.75
    placing: float = 0.0

    def __post_init__(self) -> None:
        for name in ("label_smoothing", "ctc", "sampling"):
            if not 0 <= getattr(self, name) <= 1:
                raise CheckpointError(f"objective: {name} is {getattr(self, name)}, not 0 to 1")
        if self.placing < 0 or (self.placing and not self.ctc):
            raise CheckpointError(
                f"objective: placing is {self.placing}, expected 0, or more with ctc above 0"
            )


@dataclass(frozen=True, slots=True)
class ParaformerConfig:
    """A whole model.

    Attributes:
        vocab_size: tokens, special ones included: 0 is CTC's blank, 1 and 2 begin and end.
        frontend: features.
        encoder: sizes.
        predictor: of the tokens' number and embeddings.
        decoder: sizes.
        objective: of training.
        end_token: whether an end token follows the labels, as in the large models.
        compat: compute as FunASR does, whose results depend on the padding of the batch: frames
            beyond an utterance's end are not blanked before the predictor.
        max_frames: stacked frames that an utterance may have; attention costs their square.
        chunks: the cut for streams that the model was trained on; None if it was trained on whole
            utterances alone.
        language: code of the one language that it writes; None if that is not known.
        max_window_seconds: longest stretch that is to be heard at once where recordings are cut, as
            long as its training had them.
    """

    vocab_size: int
    frontend: FrontendConfig = field(default_factory=FrontendConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    end_token: bool = True
    compat: bool = False
    max_frames: int = 5000
    chunks: Chunks | None = None
    language: str | None = None
    max_window_seconds: float = 30.0

    def __post_init__(self) -> None:
        _positive(self, "max_frames")
        seconds = self.max_frames * self.frontend.frame_seconds
        if not 1 <= self.max_window_seconds <= seconds:
            raise CheckpointError(
                f"max_window_seconds is {self.max_window_seconds}, expected 1 to {seconds:.0f}, "
                "which max_frames allows"
            )
        if not isinstance(self.vocab_size, int) or self.vocab_size < 4:
            raise CheckpointError(
                f"vocab_size is {self.vocab_size!r}, expected 4 or more: blank, start, end, tokens"
            )
        if self.encoder.dim % self.decoder.heads:
            raise CheckpointError(
                f"dim {self.encoder.dim} cannot be split over the decoder's {self.decoder.heads} "
                "heads"
            )
        width = self.encoder.dim if self.encoder.stem else self.frontend.num_features
        if width % 2:
            raise CheckpointError(f"{width} features have no position code: give an even number")
        if self.encoder.stem and (self.frontend.lfr_m < 5 or self.frontend.lfr_n % 2):
            raise CheckpointError(
                f"stacks of {self.frontend.lfr_m} frames every {self.frontend.lfr_n}: a stem "
                "needs 5 or more, every even number"
            )
        if self.predictor.kind == "pif" and self.encoder.dim % self.predictor.heads:
            raise CheckpointError(
                f"dim {self.encoder.dim} cannot be split over the predictor's "
                f"{self.predictor.heads} heads"
            )
        kind = self.predictor.kind
        if kind in ("ctc", "spikes") and (self.end_token or not self.objective.ctc):
            raise CheckpointError(
                f"the predictor {kind} needs end_token false and objective.ctc above 0: it aligns "
                "labels with the sound, and learns from the CTC loss alone"
            )

    @property
    def reach(self) -> float:
        """Seconds for which a word may go on behind the last of its tokens.

        A CTC's peak tells where a token begins, CIF's weights where it ends.
        """
        return 0.24 if self.predictor.kind == "spikes" else 0.0

    @property
    def has_ctc(self) -> bool:
        """Whether there is a CTC head."""
        return self.objective.ctc > 0

    def to_dict(self) -> dict[str, Any]:
        """Return the object of a `config.json`."""
        return {"model_type": MODEL_TYPE, **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read the object of a `config.json`; `description` is passed over.

        Raises:
            CheckpointError: another kind of model, an unknown key, or a value that does not fit.
        """
        if values.get("model_type") != MODEL_TYPE:
            raise CheckpointError(
                f"model_type is {values.get('model_type')!r} in config.json, "
                f"expected {MODEL_TYPE!r}"
            )
        own = {k: v for k, v in values.items() if k not in ("model_type", "description")}
        for name, kind in _SECTIONS.items():
            if own.get(name) is not None:
                own[name] = _section(kind, own[name], f"{name} of config.json")
        return _section(cls, own, "config.json")


_SECTIONS: dict[str, type] = {
    "frontend": FrontendConfig,
    "encoder": EncoderConfig,
    "predictor": PredictorConfig,
    "decoder": DecoderConfig,
    "objective": ObjectiveConfig,
    "chunks": Chunks,
}


def _section(kind: type, values: Any, where: str) -> Any:
    if isinstance(values, kind):
        return values
    if not isinstance(values, Mapping):
        raise CheckpointError(f"{where} is a {type(values).__name__}, expected an object")
    names = [f.name for f in dataclasses.fields(kind)]
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise CheckpointError(f"{where} has {unknown[0]!r}, expected only {', '.join(names)}")
    try:
        return kind(**values)
    except CheckpointError:
        raise
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{where}: {error}") from error


def _positive(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise CheckpointError(f"{name} must be a positive integer, not {value!r}")


def _natural(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise CheckpointError(f"{name} is {value!r}, expected a whole number from 0 on")


def _share(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if not 0 <= value < 1:
            raise CheckpointError(f"{name} is {value!r}, expected 0 to below 1")


def _choice(config: Any, name: str, allowed: tuple[str, ...]) -> None:
    if getattr(config, name) not in allowed:
        raise CheckpointError(
            f"{name} is {getattr(config, name)!r}, expected one of {', '.join(allowed)}"
        )


def _check_block(config: EncoderConfig | DecoderConfig, dim: int | None) -> None:
    if dim is not None and dim % config.heads:
        raise CheckpointError(f"dim {dim} cannot be split over {config.heads} heads")
    _share(config, "dropout")
    if not config.kernel_size % 2:
        raise CheckpointError(f"kernel_size is {config.kernel_size}, expected an odd number")
    if not 0 <= config.shift <= config.kernel_size // 2:
        raise CheckpointError(f"shift is {config.shift}, not 0 to {config.kernel_size // 2}")
