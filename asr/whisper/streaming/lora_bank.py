"""Many LoRA adapters beside one base model, for streams that are heard in one batch.

A stream's adapter is known by a stamp, a number made of its name and weights: it travels in states
and questions, and means the same in another process, whatever else was put there before. Adapters
come and go at any time and from any thread; the memory of one that was dropped is used again when
no pass reads it any more.
"""

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from echoic.asr.errors import CheckpointError
from echoic.asr.whisper.adapter import Adapter, check_adapter
from echoic.asr.whisper.hub import SHORT_NAMES
from echoic.asr.whisper.model import WhisperModel
from echoic.asr.whisper.streaming.lora_rows import Place, Stack, Stacked

#: The stamp of no adapter.
NO_ADAPTER = 0
CAPACITY = 1024

# Linear layers of one input, whose adapters are computed together.
_TOGETHER = {
    "self_attn.q_proj": ("self_attn.qkv", 0),
    "self_attn.k_proj": ("self_attn.qkv", 1),
    "self_attn.v_proj": ("self_attn.qkv", 2),
    "encoder_attn.k_proj": ("encoder_attn.kv", 0),
    "encoder_attn.v_proj": ("encoder_attn.kv", 1),
}


class Pair(NamedTuple):
    """What an adapter has for one linear layer: A (r, inputs), and B scaled, (r, outputs)."""

    down: Tensor
    up: Tensor


Parts = Mapping[int, Pair]


class LoraBank:
    """Adapters of one model, by name.

    Attributes:
        capacity: most adapters that it takes.

    Args:
        model: of all of them; they are beside its weights, in any arithmetic.
        base: the streaming adapter that is merged in, which says what the model is.
        capacity: see above.
    """

    def __init__(
        self, model: WhisperModel, *, base: Adapter | None = None, capacity: int = CAPACITY
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}: expected 1 or more")
        self.capacity = capacity
        self._model = model
        self._base = base
        self._stacks: dict[str, dict[Place, Stacked]] = {"encoder": {}, "decoder": {}}
        self._stamps: dict[str, int] = {}
        self._slots: dict[int, int] = {}
        self._size = 0  # slots that there is memory for, the same at every place
        self._free: list[int] = []
        self._left: list[int] = []  # dropped while a pass reads them
        self._passes: Counter[int] = Counter()  # that read a slot
        self._lock = threading.Lock()

    @property
    def encoder(self) -> Stack:
        """What there is in the encoder."""
        return self._stacks["encoder"]

    @property
    def decoder(self) -> Stack:
        """What there is in the decoder."""
        return self._stacks["decoder"]

    @property
    def names(self) -> list[str]:
        """Of the adapters that it holds."""
        with self._lock:
            return list(self._stamps)

    @property
    def num_bytes(self) -> int:
        """Memory of all adapters, and of room for some more."""
        with self._lock:
            stacked = [s for stack in self._stacks.values() for s in stack.values()]
        return sum(t.numel() * t.element_size() for s in stacked for t in (s.down, s.up))

    def stamp(self, name: str) -> int:
        """Return the number by which states and questions know an adapter.

        Raises:
            ValueError: there is none of this name.
        """
        with self._lock:
            return self._find(name)

    def put(self, name: str, adapter: Adapter) -> None:
        """Take an adapter in.

        Args:
            name: that recognisers will call it by.
            adapter: of this model.

        Raises:
            CheckpointError: it is of another model.
            ValueError: the name is taken, or there is no room.
        """
        check_adapter(adapter, self._model.config)
        self._check_base(adapter)
        found = _placed(adapter)
        stamp = _stamp(name, found)
        with self._lock, torch.inference_mode(False), torch.no_grad():
            if name in self._stamps:
                raise ValueError(f"there is an adapter {name!r} already: drop it first")
            if len(self._stamps) >= self.capacity:
                raise ValueError(
                    f"there are {self.capacity} adapters, and no more fit: drop one, or make the "
                    "bank with a larger capacity"
                )
            slot = self._free_slot()
            try:
                for stack, places in found.items():
                    for place, parts in places.items():
                        self._write(stack, place, slot, parts)
            except BaseException:  # no memory is left: what was written is taken out again
                self._left.append(slot)
                self._reuse()
                raise
            self._stamps[name], self._slots[stamp] = stamp, slot

    def drop(self, name: str) -> None:
        """Give an adapter up; streams that have it end at their next block, by an error.

        Raises:
            ValueError: there is none of this name.
        """
        with self._lock:
            stamp = self._find(name)
            del self._stamps[name]
            self._left.append(self._slots.pop(stamp))
            self._reuse()

    @contextmanager
    def reading(self, stamps: Sequence[int]) -> Iterator[list[int | None]]:
        """Look adapters up for a pass, in which what they hold does not change.

        Args:
            stamps: of the streams.

        Returns:
            The slot of each one's adapter; None for none.

        Raises:
            ValueError: an adapter is not there, or not any more.
        """
        with self._lock:
            if any(stamp != NO_ADAPTER and stamp not in self._slots for stamp in stamps):
                raise ValueError("the adapter of the stream was dropped: put the same one again")
            slots = [None if stamp == NO_ADAPTER else self._slots[stamp] for stamp in stamps]
            used = {slot for slot in slots if slot is not None}
            self._passes.update(used)
        try:
            yield slots
        finally:
            with self._lock:
                self._passes.subtract(used)
                self._reuse()

    def _find(self, name: str) -> int:
        if name not in self._stamps:
            held = ", ".join(self._stamps) or "none"
            raise ValueError(f"no adapter is called {name!r}, there are: {held}; put it first")
        return self._stamps[name]

    def _reuse(self) -> None:
        unread = [slot for slot in self._left if not self._passes[slot]]
        for slot in unread:
            self._left.remove(slot)
            for stack in self._stacks.values():
                for stacked in stack.values():
                    stacked.down[slot] = 0.0
                    stacked.up[slot] = 0.0
            self._free.append(slot)

    def _free_slot(self) -> int:
        if self._free:
            return self._free.pop()
        slot = len(self._slots) + len(self._left)
        if slot >= self._size:
            size = max(slot + 1, min(self._size * 3 // 2, self.capacity))
            for stack in self._stacks.values():
                for place, held in stack.items():
                    stack[place] = _grown(held, size, held.parts, held.down.shape[2])
            self._size = size
        return slot

    def _write(self, stack: str, place: Place, slot: int, parts: Parts) -> None:
        held = self._stacks[stack].get(place)
        rank = max(pair.down.shape[0] for pair in parts.values())
        if held is None:
            held = self._nothing(stack, tuple(sorted(parts)), rank, next(iter(parts.values())))
        touched = tuple(sorted({*parts, *held.parts}))
        if touched != held.parts or rank > held.down.shape[2]:
            held = _grown(held, self._size, touched, max(rank, held.down.shape[2]))
        for part, pair in parts.items():
            number = touched.index(part)
            held.down[slot, number, : len(pair.down)] = pair.down
            held.up[slot, number, : len(pair.up)] = pair.up
        self._stacks[stack][place] = held

    def _nothing(self, stack: str, parts: tuple[int, ...], rank: int, like: Pair) -> Stacked:
        norm = getattr(self._model, stack).layer_norm.weight
        # Low-rank parts are small: on a CPU they cost little in the arithmetic that is always fast.
        dtype = torch.float32 if norm.device.type == "cpu" else norm.dtype
        size = self._size, len(parts), rank
        down = torch.zeros(*size, like.down.shape[1], dtype=dtype, device=norm.device)
        up = torch.zeros(*size, like.up.shape[1], dtype=dtype, device=norm.device)
        return Stacked(down, up, parts)

    def _check_base(self, adapter: Adapter) -> None:
        if self._base is None:
            return
        source = adapter.folder or "the adapter"
        wanted, found = _whisper(self._base.base_model), _whisper(adapter.base_model)
        if wanted and found and wanted != found:
            raise CheckpointError(
                f"{source} is for {found}, and this model is a {wanted}; take an adapter of that"
            )
        if found and adapter.streaming is not None:
            raise CheckpointError(
                f"{source} makes {found} causal, and this model is already; take an adapter that "
                "was trained on the causal model, or stream this one alone"
            )


def _grown(held: Stacked, slots: int, parts: tuple[int, ...], rank: int) -> Stacked:
    """Return a place with more room and what it held; passes that began go on with the old."""
    old, _, old_rank, _ = held.down.shape
    where = [parts.index(part) for part in held.parts]

    def wider(tensor: Tensor) -> Tensor:
        room = tensor.new_zeros(slots, len(parts), rank, tensor.shape[3])
        room[:old, where, :old_rank] = tensor
        return room

    return Stacked(wider(held.down), wider(held.up), parts)


def _placed(adapter: Adapter) -> dict[str, dict[Place, dict[int, Pair]]]:
    """Return an adapter's weights by stack, place and part."""
    found: dict[str, dict[Place, dict[int, Pair]]] = {"encoder": {}, "decoder": {}}
    for module in adapter.modules:
        stack, _, layer, name = module.split(".", 3)
        joint, part = _TOGETHER.get(name, (name, 0))
        down, up = adapter.factors(module)
        found[stack].setdefault(Place(int(layer), joint), {})[part] = Pair(down, up.t())
    return found


def _stamp(name: str, found: Mapping[str, Mapping[Place, Parts]]) -> int:
    digest = hashlib.sha256(name.encode())
    for stack, places in found.items():
        for place, parts in sorted(places.items()):
            for part, pair in sorted(parts.items()):
                digest.update(f"{stack} {place} {part}".encode())
                for tensor in pair:
                    digest.update(tensor.contiguous().numpy().tobytes())
    return 1 + int.from_bytes(digest.digest()[:7], "big")


def _whisper(name: str | None) -> str | None:
    """Return the short name of one of the known Whispers, None for other names and folders."""
    long_names = {full: short for short, full in SHORT_NAMES.items()}
    return name if name in SHORT_NAMES else long_names.get(name or "")
