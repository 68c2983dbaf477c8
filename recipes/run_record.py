"""What a training run leaves beside its weights, so that its folder says what made it.

`config.yaml` has every field of the recipe, as Lightning saves it. `run.jsonl` has a line when the
run starts and one when it ends, whatever ended it: command, revision, environment, times, the last
figures. `metrics.jsonl` has what TensorBoard gets, a line each time. A run that goes on in its
folder adds lines and keeps its earlier `config.yaml` as `config.N.yaml`; where it went back to an
earlier step, the later of two lines of a step counts. The first of several processes writes.
"""

import math
import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from echoic.recipes.env import brief
from echoic.recipes.revision import revision_of
from echoic.recipes.run_folder import CONFIG_FILE, METRICS_FILE, RECORD_FILE, append_line

FIT = "fit"


class RunRecord(SaveConfigCallback):
    """Writes the record of a run of `echoic train fit`; of other commands the recipe alone."""

    def __init__(self, *args: Any, command: Sequence[str] = (), **kwargs: Any) -> None:
        """Take what Lightning gives, and the command line."""
        super().__init__(*args, **kwargs)
        self.command = ["echoic", *command]
        self._folder: Path | None = None
        self._begun = 0.0

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Save the recipe, and have the metrics written."""
        folder = Path(trainer.log_dir)  # which all processes have to ask for
        if stage == FIT and not self.already_saved:
            if trainer.is_global_zero:
                keep_config(folder)
            # After TensorBoard's, whose folder is that of the run.
            trainer.loggers = [*trainer.loggers, MetricLines(folder)]
        super().setup(trainer, pl_module, stage)
        if stage == FIT:
            self._folder = folder

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Write the first line."""
        self._begun = time.monotonic()
        weights = list(pl_module.parameters())
        self._write(
            trainer,
            event="start",
            command=self.command,
            folder=os.getcwd(),
            goes_on_from=trainer.ckpt_path,
            processes=trainer.world_size,
            parameters=sum(p.numel() for p in weights),
            learning=sum(p.numel() for p in weights if p.requires_grad),
            echoic=origin(Path(__file__).with_name("__init__.py")) | {"version": version("echoic")},
            recipes={str(path): origin(path) for path in self._recipes()},
            environment=brief(),
        )

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the last line of a run that came to its end."""
        self._end(trainer, "finished")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Write the last line of a run that did not."""
        stopped = isinstance(exception, KeyboardInterrupt)
        text = " ".join(str(exception).split())
        self._end(trainer, "interrupted" if stopped else f"{type(exception).__name__}: {text}")

    def _end(self, trainer: Any, status: str) -> None:
        self._write(
            trainer,
            event="end",
            status=status,
            step=trainer.global_step,
            seconds=round(time.monotonic() - self._begun, 1),
            metrics=plain(trainer.callback_metrics),
        )

    def _write(self, trainer: Any, **values: Any) -> None:
        if trainer.is_global_zero and self._folder is not None:
            append_line(self._folder / RECORD_FILE, {"time": now(), **values})

    def _recipes(self) -> list[Path]:
        return [Path(str(path)) for path in self.config.get("config") or []]


class MetricLines(Logger):
    """Adds a line of JSON to a file for all that is logged at a time.

    Args:
        folder: of the file.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    # Empty, so that checkpoints without any other logger lie where they do without this one.
    @property
    def name(self) -> str:
        """Part of the path of checkpoints."""
        return ""

    @property
    def version(self) -> str:
        """Part of the path of checkpoints."""
        return ""

    @property
    def save_dir(self) -> str:
        """Where checkpoints go."""
        return str(self.folder)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the recipe is saved."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Write a line."""
        append_line(self.folder / METRICS_FILE, {"step": step, "time": now(), **plain(metrics)})


def plain(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """Return metrics as numbers; None for those that are infinite or none, which JSON has not."""
    values = {name: float(value) for name, value in metrics.items()}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def origin(path: Path) -> dict[str, Any]:
    """Return the revision of the checkout that keeps a file; empty where none does."""
    found = revision_of(path)
    return {} if found is None else found._asdict()


def now() -> str:
    """Return the time: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def keep_config(folder: Path) -> None:
    """Move the recipe of an earlier start in the folder aside."""
    path = folder / CONFIG_FILE
    if path.is_file():
        number = 1
        while (other := folder / f"config.{number}.yaml").exists():
            number += 1
        path.replace(other)
