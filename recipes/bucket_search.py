"""From a recipe to its buckets: edges from its manifests, sizes by trying its own steps."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from lightning import LightningDataModule, LightningModule

from echoic.asr.device import named_device
from echoic.asr.paraformer.training.datamodule import ParaformerData
from echoic.audio.data.batch_search import Trial, search
from echoic.audio.data.batch_trials import CudaTrial, MemoryTrial, TimeTrial
from echoic.audio.data.bucket_plan import BucketConfig, BucketPlan
from echoic.audio.data.buckets import Buckets
from echoic.recipes.recipe_parser import build_part, read_recipe
from echoic.recipes.recipe_step import SETTINGS, RecipeStep
from echoic.recipes.train import RecipeError

_GPU_SHARE = 0.9
_STEP_TIMEOUT = 3600.0


@dataclass(frozen=True, slots=True)
class Limit:
    """What may limit a batch.

    Attributes:
        device: "auto", "cpu", "cuda" or "cuda:1"; auto takes a GPU where there is one.
        memory: bytes of a process, or of a GPU; None for nine tenths of the GPU.
        step_seconds: that a step may take; None for any.
    """

    device: str = "auto"
    memory: int | None = None
    step_seconds: float | None = None

    @property
    def place(self) -> str:
        """The device that is meant.

        Raises:
            ValueError: there is none.
        """
        return str(named_device(self.device))

    def trial(self, step: RecipeStep, parameters: int) -> Trial:
        """Return what tells whether a batch fits.

        Args:
            step: that is tried.
            parameters: bytes of these.
        """
        if self.step_seconds is not None:
            return TimeTrial(step, self.step_seconds)
        if self.place.startswith("cuda"):
            total = torch.cuda.get_device_properties(self.place).total_memory
            share = _GPU_SHARE if self.memory is None else min(1.0, self.memory / total)
            # Beside it, what several processes have to share their gradients.
            return CudaTrial(step, self.place, share, parameters)
        if self.memory is None:
            raise RecipeError(
                "a processor's memory has no end to run into: give --memory, such as 4G, or "
                "--step-seconds"
            )
        preload = (
            "lightning",
            "jsonargparse",
            __name__,
            step.model["class_path"].rpartition(".")[0],
        )
        return MemoryTrial(step, self.memory, _STEP_TIMEOUT, preload)


class Search(NamedTuple):
    """Buckets of a recipe.

    Attributes:
        config: of the recipe, with what was found.
        buckets: with the sizes that fit.
        utterances: of a pass through the data.
        steps: that it takes in one process.
    """

    config: BucketConfig
    buckets: Buckets
    utterances: int
    steps: int

    def to_yaml(self, head: str) -> str:
        """Return a recipe to be laid over the other, under a line of comment."""
        fields = asdict(self.config) | {
            "saved": {
                "edges": [list(edge) for edge in self.buckets.edges],
                "batch_sizes": list(self.buckets.batch_sizes),
            }
        }
        values = {"data": {"init_args": {"buckets": fields}}}
        text = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=100)
        return f"# {head}\n{text}"


def search_recipe(arguments: Sequence[str], limit: Limit, most: int = 4096) -> Search:
    """Find the largest batch of each bucket of a recipe.

    Args:
        arguments: the recipe, as `echoic train fit` takes it.
        limit: of a batch.
        most: utterances in a batch, where nothing else limits it.

    Raises:
        RecipeError: the recipe cannot be read, or has no buckets.
        ValueError: not even one utterance fits, or the data cannot be used.
        OSError: the data cannot be read.
        RuntimeError: a step failed for another reason than memory.
    """
    recipe = read_recipe(arguments)
    kind = recipe.data.class_path.rpartition(".")[2]
    if kind != ParaformerData.__name__:
        raise RecipeError(
            f"buckets are of {ParaformerData.__name__}, the recipe has {kind}, whose batches are "
            "all of one length: choose their size there"
        )
    values = recipe.data.as_dict()
    values["init_args"] |= {"cache": False}  # lengths are wanted, not sound
    data = build_part(LightningDataModule, values)
    assert isinstance(data, ParaformerData)
    task = build_part(LightningModule, recipe.model.as_dict())  # what is wrong with it shows here
    trainer: dict[str, Any] = {name: recipe.trainer.get(name) for name in SETTINGS}
    step = RecipeStep(recipe.model.as_dict(), trainer, data.random_batches(), limit.place)
    trial = limit.trial(step, sum(p.numel() * p.element_size() for p in task.parameters()))
    del task
    durations, tokens = (np.concatenate(own) for own in data.lengths())
    config = data.buckets or BucketConfig()
    buckets = config.find(durations, tokens, 1.0, 1)
    found = search(buckets, trial, first=min(32, most), most=most)
    plan = BucketPlan([durations], [tokens], [1.0], found, strict=config.strict)
    config = replace(config, saved=found)
    return Search(config, found, len(durations) - plan.left_out, plan.length(0))
