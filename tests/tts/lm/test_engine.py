"""Rows that join and leave between any two steps say what they say alone."""

from typing import Any

import pytest
import torch
from small_speech import FORM, TEXT_SIZE, frames, speech_lm, text
from torch import Tensor

from echoic.streaming.work import Ask, Rounds, Work, alone
from echoic.tts.lm import SamplingConfig, ScoresNotFinite, SpeechLM, SpeechLMConfig
from echoic.tts.lm.cache import JoinedCache
from echoic.tts.lm.config import TransformerConfig
from echoic.tts.lm.engine import TalkerEngine
from echoic.tts.lm.guard import Bounds
from echoic.tts.lm.packed import PackedTransformer, pack
from echoic.tts.lm.rows import Row
from echoic.tts.lm.transformer import Transformer
from echoic.tts.lm.utterance import Request

WARM = SamplingConfig(1.0, 0, 1.0, window=0)
CHOOSY = SamplingConfig(0.7, 5, 0.9, window=4, threshold=0.5)
BOUNDS = Bounds(shortest=0.04, longest=0.12, least=0.0)


def requests(track: str) -> list[Request]:
    made = []
    for number, length in enumerate((5, 8, 3, 6)):
        values: dict[str, Any] = {"sampling": CHOOSY if number % 2 else WARM, "seed": number}
        if number == 2:
            values |= {"prompt": frames(7, 1)}
            if track == "along":
                values |= {"prompt_units": 2, "prompt_starts": torch.tensor([0, 3])}
        made.append(Request(text(length, number), bounds=BOUNDS, rest=WARM, **values))
    return made


def speak(engine: TalkerEngine, request: Request) -> Work[Tensor]:
    row, said = Row(engine.model, request), []
    while row.utterance.speaks:
        said.append((yield Ask(engine, row)))
    return torch.cat(said)


def staggered(engine: TalkerEngine, asked: list[Request], every: int = 3) -> list[Tensor]:
    rounds, found = Rounds(), {}
    for request in asked:
        rounds.add(speak(engine, request))
        for _ in range(every):
            found.update(rounds.turn())
    while len(rounds):
        found.update(rounds.turn())
    assert all(outcome.error is None for outcome in found.values())
    return [found[number].result for number in sorted(found)]


@pytest.mark.parametrize(
    ("layout", "track"),
    [
        ("depth", "before"),
        ("flatten", "before"),
        ("delay", "beside"),
        ("parallel", "beside"),
        ("depth", "along"),
        ("delay", "along"),
    ],
)
def test_rows_that_join_and_leave_say_what_they_say_alone(layout: str, track: str) -> None:
    model = speech_lm(layout, track)
    engine = TalkerEngine(model, piece=3)
    asked = requests(track)
    expected = [alone(speak(TalkerEngine(model), request)) for request in asked]
    for one, other in zip(staggered(engine, asked), expected, strict=True):
        FORM.check(one)
        assert torch.equal(one, other)


def wide(layout: str) -> SpeechLM:
    shape = TransformerConfig(32, 64, 2, 2, 1)
    config = SpeechLMConfig(FORM, TEXT_SIZE, layout=layout, backbone=shape, depth=shape)  # pyright: ignore[reportArgumentType]
    torch.manual_seed(1)
    model = SpeechLM(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() >= 2:
                weight.normal_(std=0.5)
    return model


@torch.inference_mode()
def test_in_eight_bits_company_changes_no_bit() -> None:
    torch.manual_seed(0)
    packed = PackedTransformer(Transformer(TransformerConfig(32, 64, 2, 4, 2)).eval(), "int8")
    inputs = [torch.randn(length, 32) for length in (9, 1, 4, 70)]

    def read(groups: list[list[int]], cuts: tuple[int, ...]) -> list[Tensor]:
        caches = [packed.new_cache(1, room=2) for _ in inputs]
        states: list[list[Tensor]] = [[] for _ in inputs]
        for group in groups:
            for before, after in zip((0, *cuts), (*cuts, 99), strict=True):
                parts = {row: inputs[row][before:after] for row in group}
                parts = {row: part for row, part in parts.items() if len(part)}
                if not parts:
                    continue
                counts = [len(part) for part in parts.values()]
                joined = JoinedCache([caches[row] for row in parts], counts)
                x = packed(torch.cat(list(parts.values()))[None], cache=joined)[0]
                for row, part in zip(parts, x.split(counts), strict=True):
                    states[row].append(part)
        return [torch.cat(own) for own in states]

    apart = read([[0], [1], [2], [3]], (1, 4))
    for groups in ([[0, 1, 2, 3]], [[3, 1], [2, 0]]):
        for one, other in zip(read(groups, (1, 4)), apart, strict=True):
            assert torch.equal(one, other)
    # And it is what a cache for one row gives.
    for x, states in zip(inputs, apart, strict=True):
        torch.testing.assert_close(states, packed(x[None])[0], rtol=1e-2, atol=1e-2)
    model = pack(wide("depth"), "int8")
    asked = requests("before")
    expected = [alone(speak(TalkerEngine(model), request)) for request in asked]
    for one, other in zip(staggered(TalkerEngine(model), asked, 1), expected, strict=True):
        assert torch.equal(one, other)


def test_what_comes_before_the_first_step_is_read_in_pieces_beside_the_others() -> None:
    model = speech_lm("depth", "before")
    engine = TalkerEngine(model, piece=4)
    speaking = Row(model, requests("before")[0])
    while len(speaking.ahead):
        assert len(engine.answer([speaking])[0]) == 0
    joining = Row(model, Request(text(19), bounds=BOUNDS, seed=5))
    left = [len(joining.ahead)]
    while left[-1]:
        assert len(engine.answer([joining, speaking])[1]) == 1
        left.append(len(joining.ahead))
    assert left == [20, 16, 12, 8, 4, 0]
    with pytest.raises(ValueError, match="pieces of 0 positions"):
        TalkerEngine(model, piece=0)


def test_an_error_is_one_rows_alone() -> None:
    model = speech_lm("depth", "beside")
    engine = TalkerEngine(model)
    asked = requests("beside")
    expected = [alone(speak(engine, request)) for request in asked[:2]]
    said = torch.cat([request.text for request in asked[:2]]).tolist()
    free = next(number for number in range(TEXT_SIZE) if number not in said)
    with torch.no_grad():
        model.text_embedding.weight[free] = torch.nan
    bad = Request(torch.tensor([free, free]), bounds=BOUNDS)
    waits = Request(torch.tensor([said[0]]), whole=False, bounds=BOUNDS)
    rounds, found = Rounds(), {}
    for request in (asked[0], bad, waits, asked[1]):
        rounds.add(speak(engine, request))
    while len(rounds):
        found.update(rounds.turn())
    assert torch.equal(found[0].result, expected[0])
    assert torch.equal(found[3].result, expected[1])
    assert isinstance(found[1].error, ScoresNotFinite)
    assert "waits for its text" in str(found[2].error)


def test_a_network_that_fails_on_a_batch_has_changed_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = speech_lm("depth", "before")
    engine = TalkerEngine(model)
    asked = requests("before")
    expected = [alone(speak(engine, request)) for request in asked]
    whole = TalkerEngine._scores
    failed: list[int] = []

    def narrow(self: TalkerEngine, rows: Any, states: Tensor) -> Tensor:
        if len(rows) > 2:
            failed.append(len(rows))
            raise MemoryError("too many rows")
        return whole(self, rows, states)

    monkeypatch.setattr(TalkerEngine, "_scores", narrow)
    for one, other in zip(staggered(engine, asked, 1), expected, strict=True):
        assert torch.equal(one, other)
    assert failed
