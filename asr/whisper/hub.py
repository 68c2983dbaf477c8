"""From a model's name to a folder: the box first, then the disk, then the Hugging Face Hub."""

from pathlib import Path

from echoic.asr.errors import CheckpointError
from echoic.asr.hub import download
from echoic.asr.whisper.box import box_models

_OPENAI = (
    *("tiny", "tiny.en", "base", "base.en", "small", "small.en", "medium", "medium.en"),
    *("large", "large-v2", "large-v3", "large-v3-turbo"),
)
_DISTILLED = (
    *("distil-small.en", "distil-medium.en"),
    *("distil-large-v2", "distil-large-v3", "distil-large-v3.5"),
)

SHORT_NAMES: dict[str, str] = {
    **{name: f"openai/whisper-{name}" for name in _OPENAI},
    **{name: f"distil-whisper/{name}" for name in _DISTILLED},
    "large-v1": "openai/whisper-large",
    "turbo": "openai/whisper-large-v3-turbo",
}

# Never a pickle, and not the second copy that some repositories keep as model.fp32-*.
_WANTED = ("*.json", "merges.txt", "model.safetensors", "model-*-of-*.safetensors")


def find_folder(name_or_dir: str | Path, revision: str | None = None) -> Path:
    """Return the folder of a model, after a download if need be.

    A name in the box wins over a folder of that name in the current directory; write "./tiny.en"
    for the latter.

    Args:
        name_or_dir: name in the box, short name, Hugging Face id or folder.
        revision: branch, tag or commit of a Hugging Face repository.

    Raises:
        CheckpointError: no such model, or no network.
    """
    name = str(name_or_dir)
    boxed = {model.name: model.folder for model in box_models()}
    if revision is None and isinstance(name_or_dir, str) and name in boxed:
        return boxed[name]
    path = Path(name_or_dir).expanduser()
    if path.is_dir():
        if revision is not None:
            raise CheckpointError(f"{name} is a folder, it has no revision {revision!r}")
        return path
    if path.is_file():
        raise CheckpointError(f"{name} is a file, expected the folder that holds it; {_choices()}")
    if isinstance(name_or_dir, Path) or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise CheckpointError(f"no folder {name}; {_choices()}")
    if name not in SHORT_NAMES and "/" not in name:
        raise CheckpointError(f"no model {name!r}; {_choices()}; or {', '.join(SHORT_NAMES)}")
    return download(SHORT_NAMES.get(name, name), revision, _WANTED, _choices())


def _choices() -> str:
    names = ", ".join(model.name for model in box_models()) or "nothing"
    return (
        f"in the box: {names} (see `echoic models`); or give a folder with config.json and "
        "model.safetensors, or a Hugging Face id such as openai/whisper-small"
    )
