"""Many moments of a stream as one sequence for the decoder.

With a block-causal encoder, what was heard up to any moment is a slice of one pass over the whole
window, so moments differ in the decoder alone: in how far its cross-attention sees. Two forms:

- "tail", as the stream is decoded: a trunk of all tokens, each with the sound that was heard when
  it was last computed, and for every chosen moment a branch that goes over the tokens which may
  still change then. A branch sees the trunk up to its root.
- "prefix", as Krichli et al. 2025 train: for every chosen moment all tokens anew, with the sound
  up to that moment.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from echoic.asr.whisper.training.schedule import Schedule

Form = Literal["tail", "prefix"]
IGNORED = -100


@dataclass(slots=True)
class Plan:
    """A sequence for the decoder; lists have an entry for each of its L places.

    Attributes:
        tokens: what is fed.
        positions: place of each in the text, for the position embedding.
        limits: frames of sound that each sees.
        targets: what should come next; `IGNORED` where nothing is asked.
        labels: number of the text token that is the target; -1 for the end of text or nothing.
        roots: places of the trunk that each sees, beside its own branch.
        branch_starts: the place at which each one's own branch begins.
    """

    tokens: list[int] = field(default_factory=list[int])
    positions: list[int] = field(default_factory=list[int])
    limits: list[int] = field(default_factory=list[int])
    targets: list[int] = field(default_factory=list[int])
    labels: list[int] = field(default_factory=list[int])
    roots: list[int] = field(default_factory=list[int])
    branch_starts: list[int] = field(default_factory=list[int])

    def __len__(self) -> int:
        return len(self.tokens)


class Planner:
    """Lays out the moments of windows.

    Args:
        prompt: ids that the decoder starts from.
        end: id of the end of text.
        form: see the module.
    """

    def __init__(self, prompt: Sequence[int], end: int, form: Form = "tail") -> None:
        if form not in ("tail", "prefix"):
            raise ValueError(f'form is {form!r}, expected "tail" or "prefix"')
        self.prompt = tuple(prompt)
        self.end = end
        self.form = form

    def __call__(self, tokens: Sequence[int], times: Schedule, moments: Sequence[int]) -> Plan:
        """Lay out one window.

        Args:
            tokens: its text.
            times: when they are said; tokens beyond it are not heard in the window.
            moments: numbers of the blocks after which to ask what should be said.
        """
        tokens = tuple(tokens[: len(times.said)])
        plan = Plan()
        if self.form == "tail":
            self._add_trunk(plan, tokens, times)
        for block in moments:
            self._add_branch(plan, tokens, times, block)
        return plan

    def _add_trunk(self, plan: Plan, tokens: tuple[int, ...], times: Schedule) -> None:
        fed = self.prompt + tokens
        last = len(times.block_ends) - 1
        # A token is computed anew as long as the one after it may change.
        frozen = [*times.frozen, last]
        blocks = [frozen[max(0, place + 1 - len(self.prompt))] for place in range(len(fed))]
        self._add(plan, fed, 0, [times.block_ends[b] for b in blocks], len(tokens), root=0)

    def _add_branch(self, plan: Plan, tokens: tuple[int, ...], times: Schedule, block: int) -> None:
        said = times.num_said(block)
        start = 0
        if self.form == "tail":
            fixed = times.num_frozen_before(block)
            start = len(self.prompt) + fixed - 1 if fixed else 0
        fed = (self.prompt + tokens[:said])[start:]
        self._add(plan, fed, start, [times.block_ends[block]] * len(fed), said, root=start)

    def _add(
        self,
        plan: Plan,
        fed: Sequence[int],
        start: int,
        limits: list[int],
        said: int,
        *,
        root: int,
    ) -> None:
        """Append tokens `fed` from place `start` of the text on, `said` text tokens in all."""
        begin = len(plan)
        for i, token in enumerate(fed):
            label = start + i + 1 - len(self.prompt)  # text token that comes next
            plan.tokens.append(token)
            plan.positions.append(start + i)
            plan.limits.append(limits[i])
            plan.roots.append(root)
            plan.branch_starts.append(begin)
            if label < 0:  # inside the prompt
                plan.targets.append(IGNORED)
                plan.labels.append(-1)
            elif label < said:
                following = fed[i + 1]
                plan.targets.append(following)
                plan.labels.append(label)
            else:
                plan.targets.append(self.end)
                plan.labels.append(-1)


@dataclass(frozen=True, slots=True)
class PlanBatch:
    """Plans side by side, padded to L places.

    Attributes:
        tokens: int64 (B, L).
        positions: int64 (B, L).
        limits: int64 (B, L).
        targets: int64 (B, L), `IGNORED` where nothing is asked.
        labels: int64 (B, L).
        visible: bool (B, L, L), True where the row's token sees the column's.
    """

    tokens: Tensor
    positions: Tensor
    limits: Tensor
    targets: Tensor
    labels: Tensor
    visible: Tensor

    def to(self, device: torch.device | str) -> "PlanBatch":
        """Move to a device."""
        return PlanBatch(*(getattr(self, name).to(device) for name in self.__slots__))


def collate(plans: Sequence[Plan], pad: int) -> PlanBatch:
    """Put plans side by side; places of padding see themselves and are asked nothing."""
    width = max(map(len, plans))

    def padded(name: str, value: int) -> Tensor:
        rows = [getattr(plan, name) for plan in plans]
        return torch.tensor([row + [value] * (width - len(row)) for row in rows])

    places = torch.arange(width)
    roots, starts = padded("roots", 0)[:, :, None], padded("branch_starts", width)[:, :, None]
    row, column = places[None, :, None], places[None, None, :]
    visible = (column < roots) | ((column >= starts) & (column <= row)) | (column == row)
    return PlanBatch(
        tokens=padded("tokens", pad),
        positions=padded("positions", 0),
        limits=padded("limits", 1),
        targets=padded("targets", IGNORED),
        labels=padded("labels", -1),
        visible=visible,
    )
