"""Streams of one batch, each with a LoRA adapter of its own, against merged models one by one."""

import itertools
import random
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lora_whisper import ATTENTION, calm_whisper, merged, random_lora
from torch import Tensor
from whisper_factory import write_folder

from echoic.asr.errors import CheckpointError
from echoic.asr.serving import live_models
from echoic.asr.whisper.adapter import Adapter, AdapterConfig, StreamingAdapterConfig, save_adapter
from echoic.asr.whisper.model import WhisperModel
from echoic.asr.whisper.streaming.blocks import Blocks
from echoic.asr.whisper.streaming.causal import CausalWhisper
from echoic.asr.whisper.streaming.config import CausalConfig
from echoic.asr.whisper.streaming.decoder import Part, no_past
from echoic.asr.whisper.streaming.engines import Engines, HearEngine, Listening, Said, Saying
from echoic.asr.whisper.streaming.load import load_recognizer
from echoic.asr.whisper.streaming.lora_bank import LoraBank
from echoic.asr.whisper.streaming.window import Window
from echoic.streaming import state as states
from echoic.streaming.events import Event
from echoic.streaming.work import alone, together

RATE = 16_000
CONFIG = CausalConfig(Blocks(16, first=30))
STREAMING = StreamingAdapterConfig("tiny.en", (16,), None, 0.25, 0.1, 0.6)


def noise(seconds: float, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.05 * torch.randn(1, round(seconds * RATE), generator=generator)


def many(
    count: int, dtype: str | None = "float32", config: CausalConfig = CONFIG
) -> tuple[CausalWhisper, list[Adapter]]:
    """Return a recogniser whose bank holds adapters that are called by their numbers.

    Without a dtype its model was not turned to inference.
    """
    model = calm_whisper() if dtype is None else merged(None, dtype)
    recognizer = CausalWhisper(model, config)
    adapters = [random_lora(recognizer.model.config, seed) for seed in range(count)]
    for number, adapter in enumerate(adapters):
        recognizer.engines.bank.put(str(number), adapter)
    return recognizer, adapters


def one(model: WhisperModel, config: CausalConfig = CONFIG) -> CausalWhisper:
    return CausalWhisper(model, config)


def chosen(recognizer: CausalWhisper, which: Sequence[int | None]) -> list[CausalWhisper]:
    return [recognizer.with_adapter(None if i is None else str(i)) for i in which]


def through_engines(
    recognizers: Sequence[CausalWhisper], lengths: Sequence[int], seeds: Sequence[int] | None = None
) -> list[tuple[Window, Said]]:
    """Hear noise of different lengths, read tokens of different number, all in one batch."""
    engines = recognizers[0].engines
    hearing = []
    seeds = range(len(lengths)) if seeds is None else seeds
    for recognizer, length, seed in zip(recognizers, lengths, seeds, strict=True):
        listener, stamp = recognizer._listener, recognizer._stamp
        sound = noise(0.7 + 0.32 * (length % 3), seed)
        hearing.append(Listening(listener.open(), sound, listener.log_mel, listener.encoder, stamp))
    windows = engines.hear.answer(hearing)
    saying = [
        Saying(Part(torch.arange(50, 50 + n)[None], no_past(r.model.decoder), w.sound), 0, r._stamp)
        for r, w, n in zip(recognizers, windows, lengths, strict=True)
    ]
    return list(zip(windows, engines.read.answer(saying), strict=True))


def listen(recognizers: Sequence[CausalWhisper], sounds: Sequence[Tensor]) -> list[list[Event]]:
    """Hear some streams side by side."""
    steps = [
        r.stepping(r.initial_state(), sound) for r, sound in zip(recognizers, sounds, strict=True)
    ]
    found = []
    for outcome in together(steps):
        assert outcome.error is None
        found.append(outcome.result)
    ends = [r.finishing(state) for r, (state, _) in zip(recognizers, found, strict=True)]
    return [[*said, *end.result[1]] for (_, said), end in zip(found, together(ends), strict=True)]


def texts(events: Sequence[Event]) -> list[tuple[str, str, int]]:
    return [(event.type, event.text, event.stable) for event in events]


@pytest.mark.parametrize(
    ("count", "streams", "longest", "beam_size"), [(3, 5, 3, 2), (200, 14, 9, 1), (8, 6, 90, 1)]
)
def test_each_stream_of_a_batch_is_that_of_its_merged_model(
    count: int, streams: int, longest: int, beam_size: int, monkeypatch: pytest.MonkeyPatch
):
    config = replace(CONFIG, beam_size=beam_size)
    recognizer, adapters = many(count, config=config)
    rng = random.Random(count)
    which: list[int | None] = [*rng.sample(range(count), streams - 2)]
    which += [None, which[0]]
    rng.shuffle(which)
    lengths = [rng.choice([3, longest]) if count < 200 else rng.randint(1, 9) for _ in which]
    batch = through_engines(chosen(recognizer, which), lengths)
    sounds = [noise(2.0, seed=number) for number in range(streams)]
    sizes = batches(monkeypatch)
    heard = listen(chosen(recognizer, which), sounds)
    assert max(sizes) == streams
    assert sum(any(event.text for event in events) for events in heard) > streams // 2
    plain = one(merged(None), config)
    for number, (window, said) in enumerate(batch):
        choice, at = which[number], ([lengths[number]], [number])
        single = plain if choice is None else one(merged(adapters[choice]), config)
        expected_window, expected = through_engines([single], *at)[0]
        for layer, wanted in zip(window.sound, expected_window.sound, strict=True):
            torch.testing.assert_close(layer, wanted, rtol=0, atol=1e-4)
        torch.testing.assert_close(said.logits, expected.logits, rtol=0, atol=1e-4)
        assert texts(heard[number]) == texts(listen([single], [sounds[number]])[0])
        if choice is not None:  # it has an effect
            without = through_engines([plain], *at)[0][1]
            assert (without.logits - expected.logits).abs().max() > 1e-2


def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the size of every batch that is heard."""
    sizes: list[int] = []
    answer = HearEngine.answer

    def counting(engine: HearEngine, questions: Sequence[Listening]) -> list[Window]:
        sizes.append(len(questions))
        return answer(engine, questions)

    monkeypatch.setattr(HearEngine, "answer", counting)
    return sizes


@pytest.mark.parametrize(("dtype", "most"), [("bfloat16", 0.1), ("int8", 0.1), (None, 1e-5)])
def test_beside_weights_in_other_arithmetic(dtype: str | None, most: float):
    recognizer, adapters = many(8, dtype)
    found = through_engines(chosen(recognizer, [7, None, 0]), [4, 2, 4])
    exact = through_engines([one(merged(adapters[7]))], [4])[0][1].logits
    without = through_engines([one(merged(None))], [4])[0][1].logits
    error = (found[0][1].logits - exact).norm() / exact.norm()
    assert error < most
    assert (without - exact).norm() / exact.norm() > 3 * error


def test_rows_without_an_adapter_do_not_change_by_a_bit():
    recognizer, _ = many(4, "int8")  # an answer in it does not depend on who is beside
    mixed = through_engines(chosen(recognizer, [None, 1, None, 3]), [3, 2, 5, 5])
    plain = through_engines([one(merged(None, "int8"))] * 4, [3, 2, 5, 5])
    for number in (0, 2):
        assert torch.equal(mixed[number][1].logits, plain[number][1].logits)
        assert torch.equal(mixed[number][0].sound[1].keys, plain[number][0].sound[1].keys)
    assert not torch.equal(mixed[1][1].logits, plain[1][1].logits)
    floats = many(2)[0]
    beside = through_engines(chosen(floats, [None, None]), [3, 2])
    alone_ = through_engines([one(merged(None))] * 2, [3, 2])
    assert all(torch.equal(a[1].logits, b[1].logits) for a, b in zip(beside, alone_, strict=True))


def test_adapters_come_and_go():
    model = merged(None)
    bank = LoraBank(model, capacity=3)
    recognizer = CausalWhisper(model, CONFIG, engines=Engines.of(model, bank))
    assert bank.num_bytes == 0
    everything = random_lora(model.config, 3, r=5)
    narrow = random_lora(model.config, 4, r=2, targets=("v_proj",))
    bank.put("everything", everything)
    bank.put("narrow", narrow)
    assert bank.names == ["everything", "narrow"]
    assert bank.num_bytes >= 4 * (everything.num_parameters + narrow.num_parameters)
    leaving = recognizer.with_adapter("everything")
    state, _ = leaving.step(leaving.initial_state(), noise(1.0))
    bank.drop("everything")
    bank.put("third", narrow)  # where the first one was; all that it does not touch is empty
    found = through_engines([recognizer.with_adapter("third")], [4])[0][1]
    expected = through_engines([one(merged(narrow))], [4])[0][1]
    torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match=r"dropped: put the same one again"):
        leaving.step(state, noise(1.0))
    with pytest.raises(ValueError, match=r"no adapter is called 'everything', .*narrow, third"):
        recognizer.with_adapter("everything")
    bank.put("wide", random_lora(model.config, 5, r=9))
    with pytest.raises(ValueError, match=r"there are 3 adapters, and no more fit"):
        bank.put("fourth", narrow)
    with pytest.raises(ValueError, match=r"'wide' already: drop it first"):
        bank.put("wide", narrow)
    found = through_engines([recognizer.with_adapter("narrow")], [4])[0][1]  # moved, and whole
    torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=1e-4)
    bank.drop("narrow")
    bank.put("everything", everything)
    leaving.step(state, noise(1.0))  # the same name and weights: the stream goes on


def test_a_pass_keeps_what_it_began_with():
    model = merged(None)
    bank = LoraBank(model, capacity=2)
    bank.put("first", random_lora(model.config, 0, r=3))
    with bank.reading([bank.stamp("first"), 0]) as slots:
        (slot, nothing) = slots
        assert nothing is None
        assert slot is not None
        place = min(bank.encoder)
        before = bank.encoder[place].down[slot].clone()
        bank.drop("first")
        bank.put("second", random_lora(model.config, 1, r=3))
        assert torch.equal(bank.encoder[place].down[slot], before)
    with bank.reading([bank.stamp("second")]) as slots:
        assert slots != [slot]
    assert not bank.encoder[place].down[slot].any()


def test_a_put_that_fails_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch):
    recognizer, _ = many(2)
    bank = recognizer.engines.bank
    before = through_engines([recognizer.with_adapter("0")], [4])[0][1].logits
    write, calls = LoraBank._write, itertools.count()

    def failing(*arguments: Any) -> None:
        write(*arguments)
        if next(calls) == 4:
            raise MemoryError

    monkeypatch.setattr(LoraBank, "_write", failing)
    with pytest.raises(MemoryError):
        bank.put("large", random_lora(recognizer.model.config, 3, r=6))
    assert bank.names == ["0", "1"]
    bank.put("again", random_lora(recognizer.model.config, 2, r=1))
    with bank.reading([bank.stamp("again")]) as slots:
        attention = [p for p in bank.encoder if p.name == "self_attn.qkv"]
        assert not any(bank.encoder[place].down[slots[0]].any() for place in attention)
    after = through_engines([recognizer.with_adapter("0")], [4])[0][1].logits
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)


def test_adapters_come_and_go_while_streams_are_heard():
    recognizer, _ = many(3)
    bank, config = recognizer.engines.bank, recognizer.model.config
    streams = chosen(recognizer, [2, None, 0])
    before = through_engines(streams, [4, 2, 5])
    is_over = threading.Event()
    put = itertools.count()

    def come_and_go() -> None:
        while not is_over.is_set():
            seed = next(put)
            bank.put("other", random_lora(config, seed % 16, r=1 + seed % 12))
            bank.drop("other")

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for _ in range(20):
            found = through_engines(streams, [4, 2, 5])
            for a, b in zip(found, before, strict=True):
                torch.testing.assert_close(a[1].logits, b[1].logits, rtol=0, atol=1e-5)
    finally:
        is_over.set()
        thread.join()
    assert next(put) > 2
    assert bank.names == ["0", "1", "2"]
    assert bank._size <= 5  # room is used again


def test_a_stream_goes_on_in_another_process_with_its_adapter(tmp_path: Path):
    recognizer, adapters = many(3)
    mine = recognizer.with_adapter("2")
    sound = noise(4.0)
    state, _ = mine.step(mine.initial_state(), sound[:, : 2 * RATE])
    states.save(tmp_path / "state", state)
    later = one(merged(None))  # where adapters were put in another order
    for number in (2, 0):
        later.engines.bank.put(str(number), adapters[number])
    again = later.with_adapter("2")
    restored = states.load(tmp_path / "state", again.initial_state())
    expected = mine.finish(mine.step(state, sound[:, 2 * RATE :])[0])[1]
    found = again.finish(again.step(restored, sound[:, 2 * RATE :])[0])[1]
    assert texts(found) == texts(expected)
    for other in (later, later.with_adapter("0")):
        with pytest.raises(ValueError, match="a stream with another adapter"):
            other.step(restored, sound)


def test_one_who_lost_the_adapter_does_not_disturb_the_others():
    recognizer, _ = many(2)
    first, second = chosen(recognizer, [0, 1])
    states_ = [r.initial_state() for r in (first, second)]
    recognizer.engines.bank.drop("0")
    works = [r.stepping(s, noise(2.0)) for r, s in zip((first, second), states_, strict=True)]
    lost, kept = together(works)
    assert "dropped" in str(lost.error)
    assert kept.error is None
    assert texts(kept.result[1]) == texts(alone(second.stepping(states_[1], noise(2.0)))[1])


def test_adapters_of_other_models_are_refused_in_a_line():
    model = calm_whisper()
    causal = replace(random_lora(model.config, 0), streaming=STREAMING)
    bank = LoraBank(model, base=causal)
    small = random_lora(model.config, 1, targets=ATTENTION)
    wide = random_lora(replace(model.config, d_model=32), 1)
    for adapter, said in (
        (wide, r"this model's is \(16, 16\); take the model"),
        (_of("openai/whisper-tiny", small), r"is for tiny, and this model is a tiny.en"),
        (replace(small, streaming=STREAMING), r"makes tiny.en causal, and this model is already"),
    ):
        with pytest.raises(CheckpointError, match=said) as refused:
            bank.put("other", adapter)
        assert "\n" not in str(refused.value)
    bank.put("same", _of("openai/whisper-tiny.en", small))
    bank.put("own", _of("my-causal-model", small))
    assert bank.names == ["same", "own"]


def test_adapters_are_loaded_beside_a_causal_model(tmp_path: Path):
    write_folder(tmp_path / "causal" / "base")
    streaming = replace(STREAMING, base_model="./base")
    causal, mine = (random_lora(calm_whisper().config, seed) for seed in (0, 1))
    save_adapter(tmp_path / "causal", causal.state, causal.config, streaming=streaming)
    save_adapter(tmp_path / "mine", mine.state, mine.config)
    folders = {"mine": tmp_path / "mine"}
    recognizer = load_recognizer(tmp_path / "causal", dtype="float32", adapters=folders)
    assert isinstance(recognizer, CausalWhisper)
    assert recognizer.adapter is None
    adapted = recognizer.with_adapter("mine")
    assert adapted.adapter == "mine"
    assert adapted.engines is recognizer.engines
    assert adapted.with_adapter(None).adapter is None
    models = live_models(str(tmp_path / "causal"), dtype="float32", adapters=folders)
    assert [model.name for model in models] == ["causal", "mine"]
    heard_by = [model.recognizer for model in models]
    assert [one.adapter for one in heard_by if isinstance(one, CausalWhisper)] == [None, "mine"]
    with pytest.raises(ValueError, match="a Paraformer takes none"):
        live_models("paraformer-tiny-en", adapters=folders)
    with pytest.raises(ValueError, match="adapters are for the policy causal, not agreement"):
        load_recognizer("tiny.en", policy="agreement", adapters=folders)


def _of(base: str, adapter: Adapter) -> Adapter:
    config: AdapterConfig = replace(adapter.config, base_model=base)
    return replace(adapter, config=config)
