"""From a run's checkpoint to a unified model."""

from pathlib import Path

from echoic.tts.errors import TtsError
from echoic.tts.tokens import FrameFormat
from echoic.tts.training.checkpoint import read_run
from echoic.tts.unified.build import build
from echoic.tts.unified.config import UnifiedSettings
from echoic.tts.unified.files import Unified
from echoic.tts.unified.training.task import MODEL_PREFIX, SETTINGS_KEY


def unified_of_run(path: str | Path) -> Unified:
    """Read a checkpoint of `UnifiedTask` or `AlignTask`: tensors and plain values, never code.

    What was frozen in the run is read from the recipe's `model.base`, which must still be there.

    Args:
        path: a .ckpt file.

    Returns:
        The model in evaluation mode; with its adapters, where it has some.

    Raises:
        TtsError: not there, not such a checkpoint, or its base is gone.
        ValueError: its base is another one now.
    """
    values = read_run(path, SETTINGS_KEY, "unified model", "UnifiedTask")
    told = values[SETTINGS_KEY]
    made = build(
        UnifiedSettings.from_dict(told["model"]),
        FrameFormat(**told["format"]),
        told["codec_hash"],
        seed=told["seed"],
    )
    learned = {
        name.removeprefix(MODEL_PREFIX): value
        for name, value in values["state_dict"].items()
        if name.startswith(MODEL_PREFIX)
    }
    try:
        made.model.load_state_dict({**made.model.state_dict(), **learned})
    except RuntimeError as e:
        raise TtsError(
            f"{path} and {told['model']['base']} do not belong together: "
            f"{str(e).splitlines()[-1].strip()}"
        ) from e
    made.model.eval()
    return made
