"""Training forms beside each other on one batch: ours in one pass, and a pass for every moment.

    pytest tests/benchmarks/test_training_forms.py

(a) "tail" and (b) "prefix" run the encoder once for all moments of a batch and take one optimiser
step; (c) does as the published recipe does (Krichli et al. 2025, section 3.3): for every moment the
sound up to it is encoded anew, the decoder reads all of the text, and a step is taken. What is
printed are processor seconds of one thread, the median of some repetitions, and ratios; nothing
fails by time.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
from benchmarks.measure import Say
from speech_data import novel, tiny_en
from torch import Tensor
from torch.nn import functional

from echoic.asr.whisper.streaming.encoder import encode_blocks
from echoic.asr.whisper.training.alignment import TextAligner
from echoic.asr.whisper.training.corpus import Utterance
from echoic.asr.whisper.training.data import Batch, BatchConfig, BatchMaker
from echoic.asr.whisper.training.moments import decode
from echoic.asr.whisper.training.plan import IGNORED, Form, PlanBatch, Planner
from echoic.asr.whisper.training.schedule import Timing
from echoic.asr.whisper.training.task import CausalWhisperTask
from echoic.asr.whisper.training.windows import WindowConfig, WindowMaker

REPEATS = 3
# Of 12 s of sound in blocks of 320 ms, every third moment, near the published share of a quarter.
SHAPE = BatchConfig(
    seconds=24.0,
    lengths=(12.0,),
    block_sizes=(16,),
    block_weights=(1.0,),
    longest_first=30,
    moments_per_second=1.0,
)


@dataclass(frozen=True)
class Result:
    """What a step of one form takes."""

    name: str
    seconds: float
    encoder_passes: int
    encoder_frames: int
    steps: int
    places: int


@pytest.fixture(scope="module")
def windows() -> WindowMaker:
    """Windows of the real sentences."""
    aligner = TextAligner(tiny_en())
    utterances = [
        Utterance.of(
            u.path.name, len(u.wav) / 16_000, u.text, "reader", aligner(u.wav, u.text.capitalize())
        )
        for u in novel()
    ]
    config = WindowConfig(empty=0.0, stop_early=0.0, mid_sentence=0.0)
    return WindowMaker(utterances, novel()[0].path.parent, config)


def batch_of(windows: WindowMaker, form: Form, task: CausalWhisperTask) -> Batch:
    tokenizer = task.model.tokenizer
    planner = Planner(tokenizer.prompt(None), tokenizer.eot, form)
    return BatchMaker([windows], [1.0], planner, Timing(), SHAPE, seed=7)(0)


class Counter:
    """Counts what the encoder does."""

    def __init__(self, task: CausalWhisperTask) -> None:
        self.passes = self.frames = 0
        task.model.encoder.conv2.register_forward_hook(self._count)

    def _count(self, _module: object, _inputs: object, output: Tensor) -> None:
        self.passes += 1
        self.frames += output.shape[0] * output.shape[2]


def at_once(task: CausalWhisperTask, batch: Batch, optimizer: torch.optim.Optimizer) -> int:
    """All moments of a batch, and one step."""
    optimizer.zero_grad()
    task(batch).total.backward()
    optimizer.step()
    return 1


def moment_by_moment(
    task: CausalWhisperTask, batch: Batch, optimizer: torch.optim.Optimizer
) -> int:
    """A batch of prefixes, one moment of every window after the other, with a step for each."""
    plans = split(batch.plan)
    for plan in plans:
        optimizer.zero_grad()
        heard = int(plan.limits.max())
        # Its own sound only: the features up to it, and the one frame that the convolutions want.
        encoded = encode_blocks(task.model.encoder, batch.mel[:, : 2 * heard], batch.blocks)
        hidden = decode(task.model.decoder, plan, encoded)
        asked = plan.targets != IGNORED
        logits = task.model.decoder.logits(hidden[asked])
        functional.cross_entropy(logits, plan.targets[asked]).backward()
        optimizer.step()
    return len(plans)


def split(plan: PlanBatch) -> list[PlanBatch]:
    """Cut a batch in the prefix form into its moments: the first of every window, the second..."""
    starts = [
        [i for i, position in enumerate(row) if position == 0 and i < length]
        for row, length in zip(plan.positions.tolist(), lengths(plan), strict=True)
    ]
    moments = []
    for number in range(min(map(len, starts))):
        rows = []
        for row, begins in enumerate(starts):
            end = begins[number + 1] if number + 1 < len(begins) else lengths(plan)[row]
            rows.append((row, begins[number], end))
        moments.append(cut(plan, rows))
    return moments


def lengths(plan: PlanBatch) -> list[int]:
    """Places of each row without the padding, whose last one waits."""
    asked = plan.targets != IGNORED
    return [int(row.nonzero().max()) + 1 for row in asked]


def cut(plan: PlanBatch, rows: Sequence[tuple[int, int, int]]) -> PlanBatch:
    """Return stretches of rows as a batch of their own."""
    width = max(end - start for _, start, end in rows)
    causal = torch.ones(width, width, dtype=torch.bool).tril()

    def padded(values: Tensor, fill: int) -> Tensor:
        parts = [values[row, start:end] for row, start, end in rows]
        return torch.stack([functional.pad(p, (0, width - len(p)), value=fill) for p in parts])

    return PlanBatch(
        tokens=padded(plan.tokens, 0),
        positions=padded(plan.positions, 0),
        limits=padded(plan.limits, 1),
        targets=padded(plan.targets, IGNORED),
        labels=padded(plan.labels, -1),
        visible=causal.expand(len(rows), -1, -1),
    )


Step = Callable[[CausalWhisperTask, Batch, torch.optim.Optimizer], int]


def measure(name: str, windows: WindowMaker, form: Form, step: Step) -> Result:
    """Time steps of one form."""
    torch.manual_seed(0)
    task = CausalWhisperTask("tiny.en")
    batch, counter = batch_of(windows, form, task), Counter(task)
    optimizer = torch.optim.AdamW([p for p in task.parameters() if p.requires_grad], lr=1e-5)
    spent, steps = [], 0
    for _ in range(REPEATS):
        counter.passes = counter.frames = 0
        begun = time.process_time()
        steps = step(task, batch, optimizer)
        spent.append(time.process_time() - begun)
    places = int((batch.plan.targets != IGNORED).sum())
    return Result(name, statistics.median(spent), counter.passes, counter.frames, steps, places)


@pytest.mark.slow
def test_training_forms(windows: WindowMaker, say: Say) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        results = [
            measure("tail, one pass", windows, "tail", at_once),
            measure("prefix, one pass", windows, "prefix", at_once),
            measure("a pass for each moment", windows, "prefix", moment_by_moment),
        ]
    finally:
        torch.set_num_threads(threads)
    ours = results[0]
    lines = ["form                     CPU s  x tail  encoder passes  frames  steps  targets"]
    lines += [
        f"{r.name:24} {r.seconds:5.2f}  {r.seconds / ours.seconds:6.2f}  {r.encoder_passes:14}  "
        f"{r.encoder_frames:6}  {r.steps:5}  {r.places:7}"
        for r in results
    ]
    say("\n".join(lines))
    assert [r.encoder_passes for r in results[:2]] == [1, 1]
    assert [r.steps for r in results[:2]] == [1, 1]
    assert results[2].encoder_passes == results[2].steps == 12
    assert results[2].encoder_frames > 3 * ours.encoder_frames
    # Both forms of one pass see as much of every moment; the tail form does not read all anew.
    assert results[0].places < results[1].places


def test_a_pass_for_each_moment_has_the_same_targets(windows: WindowMaker) -> None:
    task = CausalWhisperTask("tiny.en")
    plan = batch_of(windows, "prefix", task).plan
    parts = split(plan)
    asked = sorted(plan.targets[plan.targets != IGNORED].tolist())
    found = sorted(t for p in parts for t in p.targets[p.targets != IGNORED].tolist())
    assert found == asked
    assert len(parts) == 12
