"""What the layers of a Whisper's encoder make of sound, for losses of other models."""

import torch
from torch import Tensor, nn

from echoic.asr.whisper.model import SAMPLE_RATE, SAMPLES_PER_FRAME, WhisperModel


class WhisperListener(nn.Module):
    """The states of all layers of an encoder, through which gradients flow back to the sound.

    Sounds are heard as they are, without the silence up to 30 s that recognition puts behind them.

    Args:
        model: name in the box, Hugging Face id or folder.

    Raises:
        CheckpointError: nothing there, or not a Whisper model.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, model: str = "tiny.en") -> None:
        super().__init__()
        whisper = WhisperModel.from_pretrained(model, dtype="float32")
        self.log_mel = whisper.log_mel
        self.encoder = whisper.encoder

    def forward(self, wav: Tensor) -> list[Tensor]:
        """Return the states of every layer, and of the last after its norm.

        Args:
            wav: (B, n) at 16 kHz, 20 ms at least and 30 s at most.

        Returns:
            Tensors (B, T, C), frames of 20 ms, as many as layers and one more.

        Raises:
            ValueError: shorter or longer.
        """
        if wav.shape[1] < SAMPLES_PER_FRAME:
            raise ValueError(
                f"a sound has {wav.shape[1]} samples, a Whisper's frame {SAMPLES_PER_FRAME}: give "
                "longer ones"
            )
        with torch.autocast(wav.device.type, enabled=False):
            mel = self.log_mel(wav.float())
        x = self.encoder.convolve(mel)
        x = x + self.encoder.embed_positions.weight[: x.shape[1]]
        states = []
        for layer in self.encoder.blocks():
            x = layer(x, None)
            states.append(x)
        return [*states, self.encoder.layer_norm(x)]
