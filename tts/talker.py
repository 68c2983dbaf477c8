"""What speaks: a language model of speech, the codec it writes for, and how it reads text."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor

from echoic.codecs.codec import Codec
from echoic.codecs.errors import CodecError
from echoic.codecs.registry import load_codec
from echoic.codecs.weights import weights_hash
from echoic.tts.alignment.files import ALIGNER, load_units, save_units
from echoic.tts.alignment.hmm import Spoken, UnitModel, first_frames, shares
from echoic.tts.box import DEFAULT, find_talker
from echoic.tts.errors import TtsError
from echoic.tts.flow.speech import FlowSpeech
from echoic.tts.folders import CONFIG
from echoic.tts.lm.files import load_speech_lm, read_config, save_speech_lm
from echoic.tts.lm.guard import Bounds
from echoic.tts.lm.packed import Arithmetic, fitting_arithmetic, pack
from echoic.tts.lm.sampling import SamplingConfig
from echoic.tts.lm.speech import SpeechLM
from echoic.tts.text.alphabet import Alphabet, Encoded, alphabet_from_config
from echoic.tts.text.frontend import Reader
from echoic.tts.text.phonemes import g2p
from echoic.tts.text.pieces import Utterance

FLOW = "flow"  # the folder inside of a talker's


@dataclass(frozen=True, slots=True)
class TalkerSettings:
    """How a talker reads and speaks.

    Attributes:
        codec: name or Hugging Face id; "./NAME" is a folder inside of the talker's own.
        codec_hash: of the codec's weights: codes of another one are noise.
        language: of its text.
        g2p: where its phonemes come from, see `echoic.tts.text.phonemes.g2p`; "" for letters.
        sampling: how the first book's codes are drawn.
        rest: how all others are.
        bounds: of the length of what is said.
        description: one line for lists of models.
    """

    codec: str
    codec_hash: str
    language: str = "en"
    g2p: str = ""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    rest: SamplingConfig = field(default_factory=lambda: SamplingConfig(window=0))
    bounds: Bounds = field(default_factory=Bounds)
    description: str = ""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read the section `talker` of a `config.json`.

        Raises:
            ValueError: unknown, missing or unfit fields.
        """
        parts = {"sampling": SamplingConfig, "rest": SamplingConfig, "bounds": Bounds}
        try:
            made = {k: parts[k](**v) if k in parts else v for k, v in values.items()}
            return cls(**made)
        except TypeError as e:
            raise ValueError(f"no settings of a talker: {e}") from e


class Talker:
    """Text in, frames of codes out, and from frames to sound.

    Args:
        model: in evaluation mode.
        codec: whose codes it writes.
        alphabet: of its text.
        settings: see there.
        units: what hears when a recording says which unit; only talkers whose text runs along
            have one, and need it to go on from a recording.
        flow: what makes sound of the codes in place of the codec; None for the codec.
        arithmetic: that it speaks in, see `echoic.tts.lm.packed`; None for the model as it is.

    Raises:
        TtsError: parts that do not belong together.
    """

    def __init__(
        self,
        model: SpeechLM,
        codec: Codec,
        alphabet: Alphabet,
        settings: TalkerSettings,
        units: UnitModel | None = None,
        flow: FlowSpeech | None = None,
        arithmetic: Arithmetic | None = None,
    ) -> None:
        form = model.config.frames
        theirs = (codec.codebook_size, codec.frame_rate, codec.num_groups)
        if form.num_codebooks > codec.num_codebooks or theirs != (
            form.codebook_size,
            form.frame_rate,
            form.num_groups,
        ):
            raise TtsError(
                f"the model writes {form.num_codebooks} codes of {form.codebook_size} values, "
                f"{form.frame_rate} a second; codec {settings.codec} has {codec.num_codebooks} of "
                f"{codec.codebook_size}, {codec.frame_rate}: they do not belong together"
            )
        found = weights_hash(codec)
        if found != settings.codec_hash:
            raise TtsError(
                f"the model was trained on codes of a codec with the weights {settings.codec_hash};"
                f" {settings.codec} has {found}: get the codec that it came with"
            )
        if alphabet.size != model.config.text_size:
            raise TtsError(
                f"an alphabet of {alphabet.size} ids for a model of {model.config.text_size}: they "
                "do not belong together"
            )
        shape = (form.num_codebooks, alphabet.size, form.codebook_size)
        if units is not None and units.emissions.shape != shape:
            raise TtsError(
                f"an aligner of {tuple(units.emissions.shape)} books, ids and codes, expected "
                f"{shape}: it does not belong to this model"
            )
        if flow is not None:
            flow.fits(codec)
        self.model = model
        self.speaking = model if arithmetic is None else pack(model, arithmetic)
        """What speaks: the model, or it packed."""
        self.units = units
        self.flow = flow
        self.codec = codec
        self.alphabet = alphabet
        self.settings = settings

    @property
    def decoder(self) -> FlowSpeech | Codec:
        """What makes sound of codes."""
        return self.codec if self.flow is None else self.flow

    @classmethod
    def from_pretrained(
        cls,
        name_or_dir: str | Path = DEFAULT,
        *,
        flow: str | Path | None = None,
        device: str = "cpu",
        arithmetic: Arithmetic | Literal["auto"] = "auto",
    ) -> Self:
        """Load a talker, and its codec.

        Args:
            name_or_dir: a name in the box, a folder or a Hugging Face id.
            flow: folder of a `FlowSpeech` that makes sound of the codes in place of the codec; None
                for the one in the talker's folder `flow`, or for the codec where there is none.
            device: cpu, cuda or cuda:1.
            arithmetic: of the language model; "auto" for what suits the processor, int8 with
                AVX-512.

        Raises:
            TtsError: not there, damaged, or parts that do not belong together.
        """
        folder = find_talker(name_or_dir)
        values = read_config(folder)
        try:
            settings = TalkerSettings.from_dict(values["talker"])
            alphabet = alphabet_from_config(values["alphabet"])
        except KeyError as e:
            raise TtsError(f"{Path(folder) / CONFIG} has no section {e}: it is no talker") from e
        except ValueError as e:
            raise TtsError(f"{Path(folder) / CONFIG}: {e}") from e
        inside = settings.codec.startswith("./")
        try:
            codec = load_codec(Path(folder) / settings.codec if inside else settings.codec)
        except CodecError as e:
            raise TtsError(f"{folder} needs its codec: {e}") from e
        model = load_speech_lm(folder, device=device)
        path = Path(folder) / ALIGNER
        units = load_units(path) if path.exists() else None
        inside = Path(folder) / FLOW
        flow = inside if flow is None and inside.is_dir() else flow
        speech = None if flow is None else FlowSpeech.from_pretrained(flow, device=device)
        chosen = fitting_arithmetic(device) if arithmetic == "auto" else arithmetic
        return cls(model, codec.to(device), alphabet, settings, units, speech, chosen)

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write a folder that `from_pretrained` reads; a codec inside of it is written, too.

        Args:
            folder: made if it is not there.
            dtype: of the stored weights of the model; None as they are.
        """
        more = {"talker": asdict(self.settings), "alphabet": self.alphabet.to_config()}
        save_speech_lm(self.model, folder, dtype=dtype, more=more)
        if self.settings.codec.startswith("./"):
            self.codec.save_pretrained(Path(folder) / self.settings.codec)
        if self.units is not None:
            save_units(self.units, Path(folder) / ALIGNER)
        if self.flow is not None:
            self.flow.save_pretrained(Path(folder) / FLOW)

    def reader(self) -> Reader:
        """Return what turns text into utterances for this talker.

        Raises:
            TtsError: its language or its phonemes need a package that is not there.
        """
        name = self.settings.g2p
        try:
            return Reader(self.settings.language, g2p(name) if name else None)
        except (ValueError, ImportError, RuntimeError) as e:
            raise TtsError(str(e)) from e

    def encode(self, utterance: Utterance) -> Encoded:
        """Return the ids of an utterance, and which of its pieces they are of.

        Raises:
            TtsError: sounds that this talker's alphabet does not have.
        """
        try:
            return self.alphabet.encode(utterance)
        except ValueError as e:
            raise TtsError(str(e)) from e

    def ids(self, utterance: Utterance) -> Tensor:
        """Return the ids (L,) of an utterance; for the errors see `encode`."""
        return torch.tensor(self.encode(utterance).ids, dtype=torch.int64)

    @torch.inference_mode()
    def align(self, ids: Tensor, frames: Tensor) -> Tensor | None:
        """Return the first frame (L,) of each id in speech; None where text does not run along.

        Args:
            ids: (L,) of what is said.
            frames: (T, Q) int64.

        Raises:
            TtsError: the talker has no aligner, or there are more ids than frames.
        """
        if self.model.config.text != "along":
            return None
        if self.units is None:
            raise TtsError("this talker has one voice, its own: it came without an aligner")
        if len(ids) > len(frames):
            raise TtsError(f"the recording is too short to say all of its text ({len(ids)} units)")
        counts = torch.tensor([len(frames)]), torch.tensor([len(ids)])
        speech = Spoken(frames[None], counts[0], ids[None], counts[1])
        return first_frames(speech, shares(speech, self.units)[0])[0]
