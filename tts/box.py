"""Talkers by name: those that come with the package, in the folder `box` beside this; no torch."""

import json
from dataclasses import dataclass
from pathlib import Path

from echoic.tts.errors import TtsError

BOX = Path(__file__).parent / "box"
#: What speaks where nobody says what should.
DEFAULT = "talker-tiny-en"
_FILES = ("config.json", "*.safetensors", "voices/*.voice", "codec/*", "flow/*")


@dataclass(frozen=True, slots=True)
class BoxTalker:
    """A talker in the box: `num_bytes` is the size of the whole folder."""

    name: str
    folder: Path
    num_bytes: int
    description: str


def box_talkers() -> list[BoxTalker]:
    """Return the talkers in the box, by name; nothing is loaded."""
    return [_describe(path.parent) for path in sorted(BOX.glob("*/config.json"))]


def find_talker(name_or_dir: str | Path) -> Path:
    """Return the folder of a talker; a Hugging Face id is fetched.

    Raises:
        TtsError: nothing of that name.
    """
    text, path = str(name_or_dir), Path(name_or_dir)
    if text and path.is_dir():
        return path
    inside = {talker.name: talker.folder for talker in box_talkers()}
    if text in inside:
        return inside[text]
    if text.count("/") != 1 or path.is_absolute() or text.startswith("."):
        names = ", ".join(inside) or "none"
        raise TtsError(
            f"no talker {text!r}: expected a name in the box ({names}), a folder with config.json "
            "and model.safetensors, or a Hugging Face id (owner/name)"
        )
    return _fetch(text)


def find_voice(voice: str, folder: Path) -> Path:
    """Return the file of a voice: its path, or its name in the folder of a talker.

    Raises:
        TtsError: neither.
    """
    if Path(voice).is_file():
        return Path(voice)
    inside = {path.stem: path for path in sorted((folder / "voices").glob("*.voice"))}
    if voice in inside:
        return inside[voice]
    raise TtsError(
        f"no voice {voice!r}: expected a .voice file, made by `echoic voice make`, or a name "
        f"that the talker knows ({', '.join(inside) or 'it knows none'})"
    )


def _fetch(repo_id: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo_id, allow_patterns=list(_FILES)))
    except Exception as error:  # of many kinds, by network, name and permission
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise TtsError(
            f"talker {repo_id!r} could not be fetched ({reason[0]}): check the name and the "
            "network, or give a folder"
        ) from error


def _describe(folder: Path) -> BoxTalker:
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return BoxTalker(folder.name, folder, size, values["talker"]["description"])
