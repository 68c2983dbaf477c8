"""A voice in a file: a recording as codes, what it says, and whose codes they are."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from echoic.tts.errors import TtsError
from echoic.tts.folders import write_tensors
from echoic.tts.talker import Talker

SUFFIX = ".voice"
FORMAT, VERSION = "echoic-voice", 1
#: Seconds of a recording that a voice is made of: less says too little, more takes the room that
#: the text needs.
SHORTEST, LONGEST = 1.0, 30.0


@dataclass(frozen=True, slots=True)
class Voice:
    """A recording that speech goes on from.

    Attributes:
        frames: (T, Q) int64, all codes of the codec.
        text: what is said.
        codec_hash: of the weights of the codec that made the codes.
        name: for people.
        licence: of the recording, as its owner says; "" for unknown.
    """

    frames: Tensor
    text: str
    codec_hash: str
    name: str = ""
    licence: str = ""

    def save(self, path: str | Path) -> None:
        """Write a `.voice` file.

        Raises:
            OSError: the file cannot be written.
        """
        header = {
            "version": VERSION,
            "text": self.text,
            "codec_hash": self.codec_hash,
            "name": self.name,
            "licence": self.licence,
        }
        tensors = {"codes": self.frames.to(torch.int32).contiguous()}
        write_tensors(tensors, path, {FORMAT: json.dumps(header, ensure_ascii=False)})

    @classmethod
    def load(cls, path: str | Path) -> "Voice":
        """Read a `.voice` file.

        Raises:
            TtsError: not there, damaged, or no voice.
        """
        if not Path(path).is_file():
            raise TtsError(f"{path} is not there: make a voice with `echoic voice make`")
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {}).get(FORMAT, "null"))
                frames = file.get_tensor("codes").long() if header else None
        except (SafetensorError, OSError, ValueError) as e:
            raise TtsError(f"{path} is damaged or no voice ({e}): make it again") from e
        if not isinstance(header, dict) or frames is None or frames.dim() != 2:
            raise TtsError(f"{path} is no voice: make one with `echoic voice make`")
        if header.pop("version", None) != VERSION:
            raise TtsError(f"{path} is of another version than {VERSION}: make it again")
        try:
            return cls(frames, **header)
        except TypeError as e:
            raise TtsError(f"{path} is damaged ({e}): make it again") from e

    def fits(self, talker: Talker) -> None:
        """Raise TtsError unless a talker can speak with this voice."""
        if self.codec_hash != talker.settings.codec_hash:
            raise TtsError(
                f"voice {self.name or 'without a name'} was made with another codec than this "
                "talker's: make it again with `echoic voice make`"
            )


@torch.inference_mode()
def make_voice(
    talker: Talker, wav: Tensor, text: str, *, name: str = "", licence: str = ""
) -> Voice:
    """Make a voice of a recording.

    Args:
        talker: whose codec codes it.
        wav: (n,) at the codec's sample rate.
        text: what is said, word by word.
        name: for people.
        licence: of the recording.

    Raises:
        TtsError: too short or too long, nothing but silence, or no text.
    """
    seconds = len(wav) / talker.codec.sample_rate
    if not SHORTEST <= seconds <= LONGEST:
        raise TtsError(
            f"the recording lasts {seconds:.1f} s: a voice is made of {SHORTEST:.0f} to "
            f"{LONGEST:.0f} s, best some ten"
        )
    if not text.strip():
        raise TtsError("a voice needs what its recording says: give the text, word by word")
    if not bool(wav.isfinite().all()) or float(wav.abs().max()) < 1e-3:
        raise TtsError("the recording is silent or damaged: give one with speech in it")
    codes = talker.codec.encode(wav[None].float().to(talker.codec.device)).codes
    return Voice(codes[0].T.cpu().contiguous(), text, talker.settings.codec_hash, name, licence)
