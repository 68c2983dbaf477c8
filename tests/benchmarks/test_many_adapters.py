"""200 LoRA adapters beside one causal Whisper, taken in turn, against one that is merged in.

16 streams hear real speech in step, one thread, a batch at a time; every utterance has the next
adapter. All systems hear each block one after the other, and processor seconds count, so that a
busy machine changes ratios little. They are printed, never judged; what fails is text that differs.
"""

import itertools
import time
from collections.abc import Iterator, Sequence

import pytest
from benchmarks.clock import threads
from benchmarks.measure import Say, align, score
from benchmarks.rows import SAMPLE_RATE, Row
from benchmarks.settings import Settings
from lora_whisper import ATTENTION, CPU, random_lora
from torch import Tensor

from echoic.asr.whisper import arithmetic
from echoic.asr.whisper.adapter import Adapter, load_adapter, merge
from echoic.asr.whisper.box import box_adapters
from echoic.asr.whisper.checkpoint import load_checkpoint
from echoic.asr.whisper.model import WhisperModel
from echoic.asr.whisper.streaming.blocks import Blocks
from echoic.asr.whisper.streaming.causal import CausalState, CausalWhisper
from echoic.asr.whisper.streaming.config import CausalConfig
from echoic.audio.io import load
from echoic.streaming.events import Event
from echoic.streaming.work import together

pytestmark = pytest.mark.timeout(0)  # none

ADAPTERS = 200
STREAMS = 16
BLOCK = 5120  # 320 ms
GOAL = 0.7
# So small that the text is that of the model without.
SIZE = 0.01


class System:
    """Streams of one recogniser, or of several that share an engine.

    Attributes:
        name: for the table.
        seconds: of the processor.
        texts: that were said.
    """

    def __init__(self, name: str, recognizers: Iterator[CausalWhisper]) -> None:
        self.name = name
        self.seconds = 0.0
        self.texts: dict[int, str] = {}
        self._recognizers = recognizers
        self._open: dict[int, tuple[CausalWhisper, CausalState]] = {}

    def step(self, sounds: dict[int, Tensor], ends: Sequence[int]) -> None:
        """Hear the next sound of each stream's utterance, by its number; some end with it."""
        for number in sounds.keys() - self._open.keys():
            recognizer = next(self._recognizers)
            self._open[number] = recognizer, recognizer.initial_state()
        begin = time.process_time()
        opened = [(*self._open[number], sound) for number, sound in sounds.items()]
        found = together([r.stepping(state, sound) for r, state, sound in opened])
        for number, outcome in zip(sounds, found, strict=True):
            if outcome.error is not None:
                raise outcome.error
            self._open[number] = self._open[number][0], outcome.result[0]
            self._say(number, outcome.result[1])
        ended = together([self._open[n][0].finishing(self._open[n][1]) for n in ends])
        self.seconds += time.process_time() - begin
        for number, outcome in zip(ends, ended, strict=True):
            self._say(number, outcome.result[1])
            del self._open[number]

    def _say(self, number: int, events: Sequence[Event]) -> None:
        said = [event.text for event in events if event.type == "final"]
        self.texts[number] = " ".join([self.texts.get(number, ""), *said]).strip()


@pytest.mark.parametrize("dtype", ["auto", "float32"])
@pytest.mark.parametrize(
    ("rank", "targets"),
    [(4, ATTENTION), (16, ATTENTION), (16, (*ATTENTION, "fc1", "fc2"))],
    ids=["4-attention", "16-attention", "16-all"],
)
def test_throughput(
    rank: int,
    targets: tuple[str, ...],
    dtype: str,
    rows: list[Row],
    settings: Settings,
    say: Say,
) -> None:
    """Steps of 16 streams: what they cost with 200 adapters, and with one."""
    wavs = [load(row.audio, sample_rate=SAMPLE_RATE, mono=True).wav for row in rows]
    config = load_checkpoint(settings.model).config
    if dtype == "auto":
        dtype = arithmetic.choose(CPU, config).decoder
    adapters = [
        random_lora(config, seed, r=rank, targets=targets, size=SIZE) for seed in range(ADAPTERS)
    ]
    alone = CausalWhisper(_model(settings.model, dtype, adapters[0]), _config())
    beside = CausalWhisper(_model(settings.model, dtype), _config())
    bank = beside.engines.bank
    for number, adapter in enumerate(adapters):
        bank.put(str(number), adapter)
    each = [beside.with_adapter(name) for name in bank.names]
    merged_in = System("one, merged in", itertools.repeat(alone))
    systems = [
        merged_in,
        System("one of 200 for all", itertools.repeat(each[0])),
        System("200 in turn", itertools.cycle(each)),
    ]
    with threads(1):
        count = _run(systems, wavs, 2 * 60 * settings.minutes)
    lines = [["adapters", "CPU s", "throughput"]]
    lines += [[s.name, f"{s.seconds:.1f}", f"{merged_in.seconds / s.seconds:.2f}"] for s in systems]
    say(
        f"\n{STREAMS} streams, {dtype}, rank {rank} of {', '.join(targets)}; {count} utterances; "
        f"{bank.num_bytes / 1e6:.0f} MB of adapters; goal {GOAL}\n{align(lines)}\n"
    )
    references = [rows[i % len(rows)].text for i in range(count)]
    rates = [score(references, [s.texts[i] for i in range(count)]).rate for s in systems]
    assert max(rates) - min(rates) < 0.02, rates


def _model(name: str, dtype: str, adapter: Adapter | None = None) -> WhisperModel:
    causal = next(a for a in box_adapters() if a.base_model == name and a.streaming)
    model = WhisperModel.from_checkpoint(load_checkpoint(name))
    merge(model, load_adapter(causal.folder))
    if adapter is not None:
        merge(model, adapter)
    return model.to_inference(device=CPU, dtype=dtype)


def _config() -> CausalConfig:
    return CausalConfig(Blocks(16, first=32))


def _run(systems: Sequence[System], wavs: Sequence[Tensor], seconds: float) -> int:
    """Let all systems hear so much sound, or each adapter once; return the number of utterances."""
    started = 0
    heard = 0.0
    open_: dict[int, int] = {}  # samples of each utterance that were heard
    while True:
        while len(open_) < STREAMS and started < ADAPTERS and heard < seconds * SAMPLE_RATE:
            open_[started] = 0
            heard += wavs[started % len(wavs)].shape[1]
            started += 1
        if not open_:
            return started
        sounds = {
            number: wavs[number % len(wavs)][:, start : start + BLOCK]
            for number, start in open_.items()
        }
        open_ = {number: start + BLOCK for number, start in open_.items()}
        ends = [n for n, start in open_.items() if start >= wavs[n % len(wavs)].shape[1]]
        for system in systems:
            system.step(sounds, ends)
        for number in ends:
            del open_[number]
