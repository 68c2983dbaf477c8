"""Batches for training: windows of one length each, laid out for the decoder."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from echoic.asr.whisper.streaming.blocks import Blocks
from echoic.asr.whisper.training.plan import PlanBatch, Planner, collate
from echoic.asr.whisper.training.schedule import Timing, schedule
from echoic.asr.whisper.training.windows import TrainingWindow, WindowMaker
from echoic.audio.features import LogMel


@dataclass(frozen=True, slots=True)
class BatchConfig:
    """The shape of batches.

    Attributes:
        seconds: sound in a batch.
        lengths: seconds of a window; one is drawn for each batch.
        block_sizes: frames of 20 ms in a block; one is drawn for each batch, so that one adapter
            serves all ("random granularity"). A single one makes an adapter for it alone.
        block_weights: how often each is drawn.
        longest_first: most frames of the first block, where that is more than a block.
        moments_per_second: moments of each window at which the decoder is asked.
    """

    seconds: float = 96.0
    lengths: tuple[float, ...] = (4.0, 6.0, 8.0, 12.0, 16.0, 24.0)
    block_sizes: tuple[int, ...] = (5, 10, 16, 25, 32, 50)
    block_weights: tuple[float, ...] = (1.0, 2.0, 3.0, 2.0, 3.0, 2.0)
    longest_first: int = 30
    moments_per_second: float = 1.0

    def __post_init__(self) -> None:
        if len(self.block_sizes) != len(self.block_weights) or not self.block_sizes:
            raise ValueError(
                f"{len(self.block_sizes)} block_sizes and {len(self.block_weights)} "
                "block_weights: expected one weight for each"
            )
        if not self.lengths or max(self.lengths) > 30 or min(self.lengths) <= 0:
            raise ValueError(f"lengths are {self.lengths}: expected 0 to 30 seconds each")


@dataclass(frozen=True, slots=True)
class Batch:
    """What a training step takes.

    Attributes:
        mel: (B, F, num_mel_bins), with the running maximum that a stream has.
        blocks: the cut of this batch.
        plan: what to ask the decoder.
        teacher_ids: int64 (B, N, K), of the windows' tokens, padded.
        teacher_probs: (B, N, K); rows without a teacher's word are 0.
        seconds: of sound.
    """

    mel: Tensor
    blocks: Blocks
    plan: PlanBatch
    teacher_ids: Tensor
    teacher_probs: Tensor
    seconds: float

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Batch":
        """Move to a device."""
        return replace(
            self,
            mel=self.mel.to(device, non_blocking=non_blocking),
            plan=self.plan.to(device),
            teacher_ids=self.teacher_ids.to(device, non_blocking=non_blocking),
            teacher_probs=self.teacher_probs.to(device, non_blocking=non_blocking),
        )


@dataclass(slots=True)
class BatchMaker:
    """Makes batch number n of a run, the same in every worker and after every restart."""

    windows: Sequence[WindowMaker]
    shares: Sequence[float]
    planner: Planner
    timing: Timing
    config: BatchConfig
    num_mels: int = 80
    initial_max: float = 0.0
    seed: int = 0
    log_mel: LogMel = field(init=False)

    def __post_init__(self) -> None:
        self.log_mel = LogMel(self.num_mels, "running", initial_max=self.initial_max)

    def __call__(self, number: int) -> Batch:
        """Make one batch."""
        rng = random.Random(f"{self.seed}/{number}")
        config = self.config
        seconds = rng.choice(config.lengths)
        size = rng.choices(config.block_sizes, config.block_weights)[0]
        first = rng.randint(size, max(size, config.longest_first))
        blocks = Blocks(size, first)
        windows = [
            rng.choices(self.windows, self.shares)[0](seconds, rng.getrandbits(62))
            for _ in range(max(1, round(config.seconds / seconds)))
        ]
        with torch.no_grad():
            mel = self.log_mel(torch.stack([window.wav for window in windows]))
        ends = blocks.ends(mel.shape[1] // 2)
        plans = []
        for window in windows:
            times = schedule(window.ends, ends, self.timing)
            moments = self._moments(len(ends), seconds, rng)
            plans.append(self.planner(window.tokens, times, moments))
        ids, probs = _teachers(windows)
        plan = collate(plans, self.planner.end)
        return Batch(mel, blocks, plan, ids, probs, seconds * len(windows))

    def _moments(self, blocks: int, seconds: float, rng: random.Random) -> list[int]:
        wanted = min(blocks, max(1, round(seconds * self.config.moments_per_second)))
        return sorted(rng.sample(range(blocks), wanted))


def _teachers(windows: Sequence[TrainingWindow]) -> tuple[Tensor, Tensor]:
    width = max(1, *(len(window.tokens) for window in windows))
    kinds = windows[0].teacher_ids.shape[1]
    ids = torch.zeros(len(windows), width, kinds, dtype=torch.int64)
    probs = torch.zeros(len(windows), width, kinds)
    for row, window in enumerate(windows):
        ids[row, : len(window.tokens)] = window.teacher_ids
        probs[row, : len(window.tokens)] = window.teacher_probs
    return ids, probs
