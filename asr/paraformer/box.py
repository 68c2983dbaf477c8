"""The Paraformer models that come with the package, in the folder `box` beside this."""

import json
from dataclasses import dataclass
from pathlib import Path

BOX = Path(__file__).parent / "box"


@dataclass(frozen=True, slots=True)
class BoxModel:
    """A model in the box: `num_bytes` is the size of the whole folder."""

    name: str
    folder: Path
    num_bytes: int
    description: str


def box_models() -> list[BoxModel]:
    """Return the models in the box, by name; nothing is loaded."""
    folders = sorted(path.parent for path in BOX.glob("*/config.json"))
    return [_describe(folder) for folder in folders]


def _describe(folder: Path) -> BoxModel:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    return BoxModel(folder.name, folder, size, config.get("description", "Paraformer"))
