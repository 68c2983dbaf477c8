"""What stands in for a codec's decoder: a flow, its vocoder, and the codes that they are for."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from echoic.codecs.codec import Codec
from echoic.codecs.settings import build
from echoic.codecs.weights import weights_hash
from echoic.tts.errors import TtsError
from echoic.tts.flow.config import FlowConfig, SolverConfig
from echoic.tts.flow.model import FlowModel
from echoic.tts.flow.prompt import Prompt
from echoic.tts.flow.solver import generate
from echoic.tts.flow.streaming import FlowDecoder, MelDecoder
from echoic.tts.flow.vocoder import Vocoder, VocoderConfig
from echoic.tts.folders import CONFIG, read_config, read_weights, write_folder
from echoic.tts.tokens import FrameFormat

FLOW, VOCODER = "flow-decoder", "mel-vocoder"
_INSIDE = "vocoder"


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """How a flow speaks.

    Attributes:
        codec_hash: of the weights of the codec whose codes it was trained on.
        chunk: frames of codes that are worked on at once.
        solver: how the flow is followed.
        description: one line for lists of models.

    Raises:
        ValueError: a chunk without frames.
    """

    codec_hash: str
    chunk: int = 25
    solver: SolverConfig = field(default_factory=SolverConfig)
    description: str = ""

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise ValueError(f"chunks of {self.chunk} frames of codes, expected 1 or more")


class FlowSpeech:
    """Codes to sound by a flow and a vocoder, with the face that a codec has for it.

    Args:
        flow: in evaluation mode.
        vocoder: of the same spectra, in evaluation mode.
        settings: see there.

    Raises:
        TtsError: a vocoder of other spectra.
    """

    def __init__(self, flow: FlowModel, vocoder: Vocoder, settings: FlowSettings) -> None:
        if flow.config.mels != vocoder.config.mels:
            raise TtsError(
                f"the flow makes spectra of {flow.config.mels} and the vocoder hears those of "
                f"{vocoder.config.mels}: train both with the same mels"
            )
        self.flow = flow
        self.vocoder = vocoder
        self.settings = settings

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.flow.config.mels.mel.sample_rate

    @property
    def frames(self) -> FrameFormat:
        """The codes that it is for."""
        return self.flow.config.frames

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.flow.device

    def fits(self, codec: Codec) -> None:
        """Check that it speaks what a codec's codes mean.

        Raises:
            TtsError: it was trained on those of another one.
        """
        found = weights_hash(codec)
        if found != self.settings.codec_hash:
            raise TtsError(
                f"the flow was trained on codes of a codec with the weights "
                f"{self.settings.codec_hash}, this one has {found}: train it on this codec's"
            )

    def streaming_decoder(
        self,
        n_q: int | None = None,
        *,
        chunk: int | None = None,
        prompt: Prompt | None = None,
        speaker: Tensor | None = None,
    ) -> FlowDecoder:
        """Return a streaming module: codes (B, n_q, F) to waveforms (B, T).

        Args:
            n_q: codes of a frame; those beyond the flow's own are passed over.
            chunk: frames of codes; None for that of the settings.
            prompt: speech to go on from.
            speaker: (S,) whose voice.

        Raises:
            ValueError: fewer codes than the flow hears, or what `MelDecoder` refuses.
        """
        books = self.frames.num_codebooks
        if n_q is not None and n_q < books:
            raise ValueError(f"n_q is {n_q}, expected {books} or more: the flow hears so many")
        size = self.settings.chunk if chunk is None else chunk
        solver = self.settings.solver
        mels = MelDecoder(self.flow, solver, size, prompt=prompt, speaker=speaker)
        return FlowDecoder(mels, self.vocoder)

    @torch.no_grad()
    def decode(
        self,
        codes: Tensor,
        lengths: Tensor | None = None,
        *,
        speaker: Tensor | None = None,
    ) -> Tensor:
        """Return the waveforms (B, T) of whole utterances, each of which sees all of itself.

        Args:
            codes: (B, Q, F).
            lengths: (B,) frames of each row; what lies beyond makes silence.
            speaker: (B, S) whose voices.

        Raises:
            ValueError: codes that no book has.
        """
        mels = generate(self.flow, codes, self.settings.solver, lengths=lengths, speaker=speaker)
        wav = self.vocoder(mels)
        if lengths is None:
            return wav
        samples = lengths.to(wav.device) * (wav.shape[1] // codes.shape[2])
        heard = torch.arange(wav.shape[1], device=wav.device) < samples[:, None]
        return torch.where(heard, wav, 0.0)

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, device: str = "cpu") -> Self:
        """Load a flow's folder and the vocoder in its folder `vocoder`.

        Raises:
            TtsError: not there, damaged, or parts that do not belong together.
        """
        values = read_config(
            folder, FLOW, FLOW, f"make one with `echoic export runs/flow {folder}`"
        )
        try:
            settings = build(FlowSettings, values.get("settings", {}), "settings.")
            flow = FlowModel(build(FlowConfig, values.get("flow", {}), "flow."))
        except ValueError as e:
            raise TtsError(f"{Path(folder) / CONFIG}: {e}") from e
        read_weights(flow, folder)
        vocoder = load_vocoder(Path(folder) / _INSIDE)
        return cls(flow.to(device).eval(), vocoder.to(device), settings)

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write a folder that `from_pretrained` reads; errors are the disk's."""
        save_flow(self.flow, self.settings, folder, dtype=dtype)
        save_vocoder(self.vocoder, Path(folder) / _INSIDE, dtype=dtype)


def save_flow(
    flow: FlowModel,
    settings: FlowSettings,
    folder: str | Path,
    *,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a flow without its vocoder."""
    values = {"model": FLOW, "settings": asdict(settings), "flow": asdict(flow.config)}
    write_folder(flow, folder, values, dtype)


def save_vocoder(
    vocoder: Vocoder,
    folder: str | Path,
    *,
    dtype: torch.dtype | None = None,
    description: str = "",
) -> None:
    """Write a vocoder."""
    values = {
        "model": VOCODER,
        "description": description,
        "vocoder": asdict(vocoder.config),
    }
    write_folder(vocoder, folder, values, dtype)


def load_vocoder(folder: str | Path, *, device: str = "cpu") -> Vocoder:
    """Load a vocoder in evaluation mode.

    Raises:
        TtsError: not there, damaged, or files that do not belong together.
    """
    values = read_config(
        folder, VOCODER, VOCODER, f"make one with `echoic export runs/vocoder {folder}`"
    )
    try:
        vocoder = Vocoder(build(VocoderConfig, values.get("vocoder", {}), "vocoder."))
    except ValueError as e:
        raise TtsError(f"{Path(folder) / CONFIG}: {e}") from e
    read_weights(vocoder, folder)
    return vocoder.to(device).eval()
