"""The documented command with two processes: as many steps in both, each with its own data."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from paraformer_runs import data, written
from real_training import callback, checkpoints, finish, small, start
from speech_data import Utterance, fifty

from echoic.asr.paraformer.training.plan import BatchConfig
from echoic.audio.data.bucket_plan import BucketConfig, BucketPlan
from echoic.recipes.run_folder import find_run, read_lines

STEPS = 3
TWO = ("--trainer.devices", "2", "--trainer.strategy", "ddp")
BATCH_SECONDS = 8.0


def test_two_processes_on_disjoint_data(tmp_path: Path) -> None:
    seen = callback("seen_batches.SeenBatches", folder=str(tmp_path))
    callbacks = [checkpoints(STEPS), seen]
    whole = [{"path": str(tmp_path / "manifest.jsonl")}]
    config = small(tmp_path, STEPS, callbacks, batches={"seconds": 3.0}, validation=whole)
    finish(start(config, *TWO))
    first, second = (json.loads((tmp_path / f"seen-{rank}.json").read_text()) for rank in (0, 1))
    assert first["processes"] == second["processes"] == 2
    assert first["steps"] == second["steps"] == STEPS
    assert first["numbers"] == [0, 2, 4]
    assert second["numbers"] == [1, 3, 5]
    # Batches of one pass have no utterance in common, in whichever process they are.
    texts = [text for seen in (first, second) for text in seen["texts"][0]]
    assert len(texts) == len(set(texts)) > 1
    assert first["weights"] == second["weights"]
    # One process keeps the record.
    folder = find_run(tmp_path).folder
    assert folder.name == "version_0"
    start_line, end = read_lines(folder / "run.jsonl")
    assert (start_line["processes"], end["step"]) == (2, STEPS)
    logged = [line["step"] for line in read_lines(folder / "metrics.jsonl") if "train/ctc" in line]
    assert logged == [0, 1, 2]


def prompts(count: int) -> list[Utterance]:
    """Prompts of a second and more, no two of which are written alike."""
    different = {written(u): u for u in fifty() if len(u.wav) > 16_000}
    return sorted(different.values(), key=lambda u: len(u.wav))[:count]


@pytest.mark.slow
def test_two_processes_on_buckets_of_different_sizes(tmp_path: Path) -> None:
    said = prompts(26)
    seen = callback("seen_batches.SeenBatches", folder=str(tmp_path))
    fields: dict[str, Any] = {
        "buckets": {"duration": 3, "tokens": 2},
        "batches": {"seconds": BATCH_SECONDS},
        "augment": None,
        "validation": None,
    }
    # A whole pass, and what one process would see of it.
    config = small(tmp_path, 1, [seen], said, **fields)
    buckets = BucketConfig(3, 2)
    one = data(
        tmp_path / "manifest.jsonl",
        tmp_path / "tokens",
        augment=None,
        buckets=buckets,
        batches=BatchConfig(BATCH_SECONDS),
    )
    (durations,), (tokens,) = one.lengths()
    sized = buckets.find(durations, tokens, BATCH_SECONDS, 64)
    alone, shared = (BucketPlan([durations], [tokens], [1.0], sized, n) for n in (1, 2))
    steps = shared.length(0) // 2
    loader = iter(one.train_dataloader())
    whole = Counter(text for _ in range(alone.length(0)) for text in next(loader).texts)
    assert whole.total() == len(whole) == len(durations) > 20

    finish(start(config, *TWO, "--trainer.max_steps", str(steps)))
    runs = [json.loads((tmp_path / f"seen-{rank}.json").read_text()) for rank in (0, 1)]
    assert [run["steps"] for run in runs] == [steps, steps]
    assert runs[0]["weights"] == runs[1]["weights"]
    own = [Counter(text for batch in run["texts"] for text in batch) for run in runs]
    assert own[0].keys().isdisjoint(own[1].keys())
    assert own[0] + own[1] == whole, "a pass has every utterance once"
    sizes = [[len(batch) for batch in run["texts"]] for run in runs]
    assert len(set(sizes[0])) > 1, "buckets of one size would prove little"
    assert sum(abs(a - b) > 1 for a, b in zip(*sizes, strict=True)) <= 1, "steps of equal cost"
