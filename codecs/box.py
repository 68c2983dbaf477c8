"""The codecs that come with the package, in the folder `box` beside this; imports no torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echoic.codecs.errors import CodecError

BOX = Path(__file__).parent / "box"


@dataclass(frozen=True, slots=True)
class BoxCodec:
    """A codec in the box: `num_bytes` is the size of the whole folder."""

    name: str
    folder: Path
    num_bytes: int
    description: str


def box_codecs() -> list[BoxCodec]:
    """Return the codecs in the box, by name; nothing is loaded."""
    return [_describe(path.parent) for path in sorted(BOX.glob("*/config.json"))]


def read_config(folder: Path) -> dict[str, Any]:
    """Return the settings of a codec's folder.

    Raises:
        CodecError: no `config.json`, or one that is no JSON object.
    """
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CodecError(f"{folder}: no config.json; expected a codec's folder") from error
    except (OSError, ValueError) as error:
        raise CodecError(f"{path}: cannot be read ({error}); fetch it again") from error
    if not isinstance(values, dict):
        raise CodecError(f"{path}: expected a JSON object")
    return values


def _describe(folder: Path) -> BoxCodec:
    values = read_config(folder)
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    return BoxCodec(folder.name, folder, size, str(values.get("description", "")))
