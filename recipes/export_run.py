"""From a training run of any kind to a folder that loads, with a card: ready for a hub.

What a checkpoint holds tells its kind; each kind keeps its own conversion, beside its command in
`echoic.recipes.prepare`.
"""

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from echoic.asr.paraformer.training.export import MODEL_KEY
from echoic.asr.tokenizer.training.task import TOKENIZER_KEY
from echoic.asr.whisper.training.language_task import ADAPTER_KEY
from echoic.codecs.training.build import SETTINGS_KEY
from echoic.recipes.model_card import About, Choices, Options, write_card
from echoic.recipes.prepare import (
    causal_box,
    codec_box,
    flow_box,
    language_box,
    paraformer_box,
    talker_box,
    tokenizer_box,
    unified_box,
)
from echoic.recipes.run_folder import Found, find_run
from echoic.recipes.run_story import story
from echoic.tts.flow.training.task import SETTINGS_KEY as FLOW_KEY
from echoic.tts.flow.training.vocoder_task import SETTINGS_KEY as VOCODER_KEY
from echoic.tts.training.task import SETTINGS_KEY as SPEECH_KEY
from echoic.tts.unified.training.task import SETTINGS_KEY as UNIFIED_KEY

LAST, BEST = "last", "best"


class Misuse(ValueError):
    """What is asked does not go together, whatever the run is."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A family of models.

    Attributes:
        name: for messages.
        key: what its checkpoints hold, and no other's.
        precisions: that it can be stored in.
        has_mean: whether several checkpoints have one.
        write: its conversion: checkpoints, folder, options; returns what it wrote.
    """

    name: str
    key: str
    precisions: tuple[str, ...]
    has_mean: bool
    write: Callable[[Sequence[Path], Path, Options], About]


KINDS = (
    Kind("Paraformer", MODEL_KEY, paraformer_box.PRECISIONS, True, paraformer_box.write),
    Kind("codec", SETTINGS_KEY, tuple(codec_box.DTYPES), False, codec_box.write),
    Kind("Whisper adapter", "adapter", causal_box.PRECISIONS, False, causal_box.write),
    Kind("talker", SPEECH_KEY, tuple(talker_box.DTYPES), False, talker_box.write),
    Kind("flow decoder", FLOW_KEY, tuple(flow_box.DTYPES), False, flow_box.write_flow),
    Kind("vocoder", VOCODER_KEY, tuple(flow_box.DTYPES), False, flow_box.write_vocoder),
    Kind("unified model", UNIFIED_KEY, tuple(unified_box.DTYPES), False, unified_box.write),
    Kind("speech tokenizer", TOKENIZER_KEY, tokenizer_box.PRECISIONS, False, tokenizer_box.write),
    Kind("language adapter", ADAPTER_KEY, language_box.PRECISIONS, True, language_box.write),
)


class Exported(NamedTuple):
    """What was written: its kind, what it is, and the step of its weights (the newest's)."""

    kind: Kind
    about: About
    step: int | None


def export_run(
    run: Path,
    folder: Path,
    *,
    checkpoints: Sequence[str] = (LAST,),
    average: int = 1,
    options: Options | None = None,
    choices: Choices | None = None,
) -> Exported:
    """Write the model of a run, and its card.

    Args:
        run: see `find_run`.
        folder: made if it does not exist.
        checkpoints: "last", "best" or files; the mean of several files is taken.
        average: take the mean of so many: the best, or the newest.
        options: how to store it.
        choices: for the card.

    Raises:
        OSError: no such run, or nothing can be written.
        ValueError: no checkpoint of a known kind.
        Misuse: what is asked does not go together.
    """
    options = Options() if options is None else options
    found = find_run(run)
    chosen = choose(found, checkpoints, average)
    values = open_checkpoint(chosen[0])
    kind = kind_of(chosen[0], values)
    if options.precision not in kind.precisions:
        raise Misuse(
            f"a {kind.name} cannot be stored in {options.precision}; choose one of "
            f"{', '.join(kind.precisions)}"
        )
    if len(chosen) > 1 and not kind.has_mean:
        raise Misuse(f"the mean of several checkpoints of a {kind.name} is none; give one")
    about = kind.write(chosen, folder, options)
    step = values.get("global_step")
    rows, sections = story(found, step)
    if len(chosen) > 1:
        rows["weights"] = f"mean of {len(chosen)} checkpoints"
    use = f"```sh\n{about.use.replace('DIR', folder.name)}\n```"
    write_card(folder, about, rows, {"Use": use, **sections}, choices)
    return Exported(kind, about, step)


def choose(found: Found, checkpoints: Sequence[str], average: int) -> list[Path]:
    """Return the checkpoints that are meant, see `export_run`.

    Raises:
        ValueError: there are not so many, or none is the best.
        Misuse: the words do not go together.
    """
    named = [c for c in checkpoints if c in (LAST, BEST)]
    if named and len(checkpoints) > 1:
        raise Misuse(f"--checkpoint {named[0]} stands alone; give it, or files")
    if not named:
        if average > 1:
            raise Misuse("--average is for last and best; name the files, whose mean is taken")
        return [Path(c) for c in checkpoints]
    if named == [LAST] and average == 1:
        return [found.last]
    chosen = best_of(found) if named == [BEST] else different(found)
    if len(chosen) < average:
        raise ValueError(f"{found.folder} holds {len(chosen)} checkpoints for a mean of {average}")
    return chosen[:average]


def best_of(found: Found) -> list[Path]:
    """Return the checkpoints that were kept for a figure, the best first.

    Raises:
        ValueError: none was.
    """
    for key, state in (open_checkpoint(found.checkpoints[0]).get("callbacks") or {}).items():
        if not isinstance(state, dict) or not state.get("monitor"):
            continue
        sign = -1 if "'mode': 'max'" in str(key) else 1
        scores = {path: sign * float(s) for path, s in state.get("best_k_models", {}).items()}
        ranked = sorted(scores, key=scores.__getitem__)
        # The run may have been moved since: by name.
        here = {path.name: path for path in found.checkpoints}
        kept = [here[Path(path).name] for path in ranked if Path(path).name in here]
        if kept:
            return kept
    raise ValueError(
        f"{found.folder} kept no checkpoint for a figure (ModelCheckpoint with a monitor); give "
        "--checkpoint last, or a file"
    )


def different(found: Found) -> list[Path]:
    """Return the newest checkpoint of each step."""
    steps: dict[Any, Path] = {}
    for path in found.checkpoints:
        steps.setdefault(open_checkpoint(path).get("global_step"), path)
    return [steps[step] for step in sorted(steps, key=lambda step: -(step or 0))]


def open_checkpoint(path: Path) -> dict[str, Any]:
    """Open a checkpoint: tensors stay on the disk, and code is never run.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is no checkpoint of tensors and plain values.
    """
    try:
        values = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError as e:
        raise FileNotFoundError(f"{path} is not there; give a .ckpt file of a run") from e
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as e:
        raise ValueError(
            f"{path} was refused: not a checkpoint of tensors and plain values "
            f"({type(e).__name__}); give one that `echoic train fit` wrote"
        ) from e
    return values if isinstance(values, dict) else {}


def kind_of(path: Path, values: dict[str, Any]) -> Kind:
    """Return the kind of a checkpoint.

    Raises:
        ValueError: of none.
    """
    for kind in KINDS:
        if kind.key in values:
            return kind
    names = ", ".join(kind.name for kind in KINDS)
    raise ValueError(f"{path} holds no model that can be exported; there are {names}")
