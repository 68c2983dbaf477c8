"""`echoic train fit`, killed again and again, and started again: the run that it would have been.

What is compared is the row of steps. A step that was done after the last checkpoint and before a
kill is done again: it must be the same step, to the last bit of its loss; of each number there is
one step, and all together are those of a run that nobody killed.
"""

import json
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from paraformer_runs import short_ones
from real_training import callback, checkpoints, finish, small, start

from echoic.asr.paraformer.training.export import read_run
from echoic.recipes.checkpoints import PARTIAL_NAME, WholeCheckpoints
from echoic.recipes.run_folder import find_run, read_lines

EVERY = 3  # steps to a checkpoint
GO_ON = ("--ckpt_path", "last")


def recipe(folder: Path, steps: int) -> Path:
    folder.mkdir()
    callbacks = [checkpoints(EVERY), callback("seen_batches.SeenSteps", folder=str(folder))]
    sizes = {"duration": 2, "tokens": 2}
    said = short_ones(12)
    return small(folder, steps, callbacks, said, buckets=sizes, batches={"seconds": 4.0})


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return read_lines(folder / "steps.jsonl")


def wait_for(process: subprocess.Popen[str], folder: Path, count: int) -> None:
    while len(lines_of(folder)) < count and process.poll() is None:
        time.sleep(0.005)


def steps_of(folder: Path) -> list[dict[str, Any]]:
    """The row of steps; those that were done twice were the same."""
    found: dict[int, set[str]] = {}
    for line in lines_of(folder):
        found.setdefault(line["step"], set()).add(json.dumps(line, sort_keys=True))
    assert all(len(variants) == 1 for variants in found.values()), found
    return [json.loads(*found[step]) for step in sorted(found)]


@pytest.mark.parametrize(
    ("kills", "steps"), [(1, 10), pytest.param(10, 60, marks=pytest.mark.slow)]
)
def test_killed_and_gone_on_with(kills: int, steps: int, tmp_path: Path) -> None:
    rng = random.Random(kills)
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    unharmed = start(recipe(whole, steps))
    config = recipe(folder, steps)
    for number in range(kills):
        process = start(config, *GO_ON)
        if number % 4 == 3:  # while it starts, or makes its first steps
            time.sleep(rng.uniform(0.0, 6.0))
        else:
            wait_for(process, folder, len(lines_of(folder)) + rng.randint(1, 4))
            time.sleep(rng.uniform(0.0, 0.1))
        process.kill()
        _, errors = process.communicate()
        assert process.returncode == -signal.SIGKILL, errors
    finish(start(config, *GO_ON))
    finish(unharmed)

    found = steps_of(folder)
    assert [line["step"] for line in found] == list(range(1, steps + 1))
    assert [line["number"] for line in found] == list(range(steps))
    assert found == lines_of(whole)
    assert len({text for line in found for text in line["texts"]}) > 8, "and more than one pass"
    done = len(lines_of(folder))
    assert steps <= done <= steps + kills * (EVERY + 3), "it goes on, and does not begin anew"
    states = [read_run(find_run(run).last)["state_dict"] for run in (folder, whole)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])
    events = [line["event"] for line in read_lines(find_run(folder).folder / "run.jsonl")]
    assert events[-1] == "end"


class Unwritable:
    """Ends the writing of a checkpoint in its middle."""

    def __reduce__(self) -> Any:
        raise KeyboardInterrupt


def test_a_checkpoint_is_whole_or_the_one_before(tmp_path: Path) -> None:
    path, files = tmp_path / "run" / "last.ckpt", WholeCheckpoints()
    files.save_checkpoint({"weights": torch.ones(3)}, path)
    with pytest.raises(KeyboardInterrupt):
        files.save_checkpoint({"weights": torch.zeros(3), "more": Unwritable()}, path)
    assert torch.load(path, weights_only=True)["weights"].sum() == 3
    files.save_checkpoint({"weights": torch.zeros(3)}, path)
    assert torch.load(path, weights_only=True)["weights"].sum() == 0
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"], PARTIAL_NAME
