"""The Whisper model: weights from anywhere, arithmetic for this machine, log-mel to tokens."""

from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from echoic.asr.whisper import arithmetic as arithmetic_module
from echoic.asr.whisper.arithmetic import Arithmetic
from echoic.asr.whisper.checkpoint import Checkpoint, load_checkpoint
from echoic.asr.whisper.config import GenerationConfig, WhisperConfig
from echoic.asr.whisper.decoder import Decoder
from echoic.asr.whisper.encoder import Encoder
from echoic.asr.whisper.tokenizer import WhisperTokenizer
from echoic.audio.features import LogMel

SAMPLE_RATE = 16_000
FRAMES_PER_SECOND = 50  # of the encoder's output


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
            self.arithmetic = arithmetic_module.choose(device, self.config.d_model)
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

    def encode(self, wav: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode windows of sound.

        Args:
            wav: (B, N) float32 at 16 kHz, N a multiple of 320.
            lengths: int64 (B,), samples of each window, multiples of 320; None for all N.

        Returns:
            (B, N / 320, C).
        """
        mel = self.log_mel(wav.to(self.device))
        return self.encoder(mel, None if lengths is None else (lengths // 160).to(self.device))
