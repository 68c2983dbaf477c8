"""The Whisper model: weights from anywhere, arithmetic for this machine, log-mel to tokens."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoic.asr.whisper import arithmetic as arithmetic_module
from echoic.asr.whisper.arithmetic import Arithmetic
from echoic.asr.whisper.checkpoint import Checkpoint, load_checkpoint
from echoic.asr.whisper.config import GenerationConfig, WhisperConfig
from echoic.asr.whisper.decoder import Decoder
from echoic.asr.whisper.encoder import EncodedWindows, Encoder, concatenate
from echoic.asr.whisper.tokenizer import WhisperTokenizer
from echoic.audio.features import LogMel

SAMPLE_RATE = 16_000
SAMPLES_PER_FRAME = 320  # of the encoder's output
FRAMES_PER_SECOND = SAMPLE_RATE // SAMPLES_PER_FRAME

# Frames of silence that one stands for after a window, and samples at least that stay single.
SILENCE_STRIDE = 8
SILENCE_KEPT = 3 * SAMPLE_RATE // 10
# Windows are rounded up to so many frames: for every new length, oneDNN compiles its products anew
# and keeps them, which took 800 MB over two hours of speech.
FRAMES_STEP = 32
# So many frames on, no convolution sees the window any more.
SILENT_FRAMES = 4


class WhisperModel(nn.Module):
    """Encoder, decoder, tokenizer and feature extractor of one Whisper checkpoint.

    Parameters carry Hugging Face's names without their first "model.". A new model computes in
    float32 and can be trained; `to_inference` turns it to the arithmetic of the machine for good.
    """

    def __init__(
        self,
        config: WhisperConfig,
        generation: GenerationConfig,
        tokenizer: WhisperTokenizer,
        *,
        device: str | torch.device = "cpu",
    ) -> None:
        super().__init__()
        self.config = config
        self.generation = generation
        self.tokenizer = tokenizer
        self.arithmetic = Arithmetic("float32", "float32")
        # Of each language's adapter: set by `echoic.asr.whisper.language_adapter.hold`.
        self.adapter_numbers: dict[str, int] = {}
        self.log_mel = LogMel(config.num_mel_bins)
        with torch.device(device):
            self.encoder = Encoder(config)
            self.decoder = Decoder(config)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> Self:
        """Build the model of a loaded checkpoint, in float32, on the CPU; shares its tensors."""
        model = cls(checkpoint.config, checkpoint.generation, checkpoint.tokenizer, device="meta")
        state = {name.removeprefix("model."): value for name, value in checkpoint.state.items()}
        result = model.load_state_dict(state, strict=False, assign=True)
        missing = [name for name in result.missing_keys if not name.startswith("log_mel.")]
        if missing or result.unexpected_keys:
            raise ValueError(
                f"{checkpoint.folder}: missing {missing}, unexpected {result.unexpected_keys}"
            )
        return model

    @classmethod
    def from_pretrained(
        cls,
        name_or_dir: str | Path,
        *,
        device: str | torch.device = "cpu",
        dtype: str = "auto",
        revision: str | None = None,
    ) -> Self:
        """Load a model for inference.

        Args:
            name_or_dir: a name in the box ("tiny.en"), a Hugging Face id or short name ("small"),
                a folder in Hugging Face's format, or one in faster-whisper's.
            device: where to compute.
            dtype: "auto" measures what is fastest here; else one of `arithmetic.KINDS`.
            revision: of a Hugging Face repository.

        Raises:
            CheckpointError: nothing there, or not a Whisper model.
            ValueError: a dtype that this device cannot compute in.
        """
        device = torch.device(device)
        if dtype != "auto":
            arithmetic_module.check(dtype, device)
        model = cls.from_checkpoint(load_checkpoint(name_or_dir, revision=revision))
        return model.to_inference(device=device, dtype=dtype)

    def to_inference(self, *, device: torch.device, dtype: str = "auto") -> Self:
        """Move to a device and turn to its fastest arithmetic, or the given one, for good."""
        if dtype == "auto":
            self.arithmetic = arithmetic_module.choose(device, self.config)
        else:
            self.arithmetic = arithmetic_module.named(dtype)
        self.to(device)
        arithmetic_module.apply(self.encoder, self.decoder, self.arithmetic)
        return self

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.decoder.embed_tokens.weight.device

    @property
    def max_window_seconds(self) -> float:
        """The longest window the encoder has positions for."""
        return self.config.max_source_positions / FRAMES_PER_SECOND

    def adapters_of(self, languages: Sequence[str | None]) -> Tensor | None:
        """Return which language adapter each row of a batch is to have.

        Args:
            languages: codes; None or "" where nobody knows, English in an English-only model.

        Returns:
            int64 (B,), 0 for none; None where no row has one.
        """
        if not self.adapter_numbers:
            return None
        unknown = "" if self.generation.is_multilingual else "en"
        numbers = [self.adapter_numbers.get(code or unknown, 0) for code in languages]
        return torch.tensor(numbers, device=self.device) if any(numbers) else None

    def encode(
        self,
        wavs: Sequence[Tensor],
        *,
        stride: int = SILENCE_STRIDE,
        languages: Sequence[str | None] | None = None,
    ) -> EncodedWindows:
        """Encode windows as if each were followed by silence up to 30 s.

        Args:
            wavs: each (N,) float32 at 16 kHz, at most `max_window_seconds` long.
            stride: 1 for exactly that; more thins the silence out (see `silence`).
            languages: of the windows, which choose adapters; None for the plain model.

        Returns:
            States and counts of the windows' frames, each window's own first.
        """
        which = None if languages is None else self.adapters_of(languages)
        rows = [None] * len(wavs) if which is None else list(which.split(1))
        parts = zip(wavs, rows, strict=True)
        return concatenate([self._encode(wav, stride, row) for wav, row in parts])

    def _encode(self, wav: Tensor, stride: int, which: Tensor | None) -> EncodedWindows:
        # One window fills a processor, and stays in its cache.
        limit = self.config.max_source_positions
        frames = -(-(len(wav) + SILENCE_KEPT) // SAMPLES_PER_FRAME)
        frames = min(-(-frames // FRAMES_STEP) * FRAMES_STEP, limit)
        samples = min(frames + SILENT_FRAMES, limit) * SAMPLES_PER_FRAME
        padded = functional.pad(wav[:samples], (0, max(0, samples - len(wav))))
        mel = self.log_mel(padded[None].to(self.device))
        lengths = torch.tensor([frames], device=self.device)
        return self.encoder.encode_padded(mel, lengths, stride=stride, which=which)
