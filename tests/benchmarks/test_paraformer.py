"""A large Paraformer against FunASR's, onnxruntime and a decoder that writes token by token."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from benchmarks import paraformer_systems as systems
from benchmarks.clock import threads
from benchmarks.measure import Say, align, machine, score
from benchmarks.pairs import take_turns
from benchmarks.paraformer_systems import Ids, State, System
from benchmarks.rows import DATA, Row, read_rows
from benchmarks.settings import Settings

from echoic.asr.arithmetic import Kind, able
from echoic.asr.paraformer.box import box_models
from echoic.asr.paraformer.model import Paraformer
from echoic.audio.io import load

pytestmark = pytest.mark.timeout(0)  # none

BATCHES = (1, 16)
THREADS = (1, 2)
KINDS = ("float32", "bfloat16", "int8", "auto")
PACKAGES = ("torch", "funasr", "onnxruntime", "transformers")
# Of random weights two tokens may score the same but for roundings.
SAME_TOKENS = 0.99
SHORT_KINDS: tuple[Kind, ...] = ("bfloat16", "int16x8", "int8")
BOX_MODEL = "paraformer-tiny-en"

each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def state() -> State:
    return systems.draw()


@pytest.fixture(scope="module")
def funasr(state: State) -> System:
    if not systems.installed("funasr"):
        pytest.skip("funasr is not installed: pip install 'echoic[bench]'")
    return systems.funasr(state)


@pytest.fixture(scope="module", params=["float32", "int8"])
def exported(
    request: pytest.FixtureRequest, state: State, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if not systems.installed(package):
            pytest.skip(f"{package} is not installed: pip install 'echoic[onnx]'")
    from echoic.asr.paraformer.onnx.export import export_onnx

    folder = tmp_path_factory.mktemp(request.param)
    export_onnx(systems.whole(state), folder, int8=request.param == "int8")
    yield request.param, folder
    shutil.rmtree(folder)  # nearly a GB


def ours(state: State, kind: str) -> Paraformer:
    if kind != "auto" and kind not in able():
        pytest.skip(f"this processor has no instructions for {kind}")
    return systems.model_of(state, kind)


def agreement(some: Ids, others: Ids) -> float:
    """Share of equal tokens; of two utterances of different lengths, none."""
    assert len(some) == len(others)
    equal = [
        sum(a == b for a, b in zip(x, y, strict=True)) if len(x) == len(y) else 0
        for x, y in zip(some, others, strict=True)
    ]
    return sum(equal) / sum(map(len, some))


def compare(mine: System, rival: System, batch: int, count: int, rounds: int) -> list[str]:
    """Measure a pair: a line of the table. The first, unmeasured, results must be the same."""
    x = systems.features(batch)
    with threads(count):
        found = mine.recognize(x), rival.recognize(x)
        assert all(abs(len(ids) - systems.TOKENS) <= 1 for one in found for ids in one)
        works = [lambda: mine.recognize(x), lambda: rival.recognize(x)]
        own, other = take_turns(works, rounds)
    same = agreement(*found)
    if mine.name.endswith("float32") and rival.name.endswith("float32"):
        assert same >= SAME_TOKENS, f"{rival.name} finds other tokens"
    seconds = [f"{own.median:.3f}", f"{other.median:.3f}"]
    return [f"{batch}", f"{count}", *seconds, *other.over(own), f"{100 * same:.1f}"]


def show(say: Say, mine: System, rival: System, lines: list[list[str]]) -> None:
    titles = ["batch", "threads", f"{mine.name} s", f"{rival.name} s"]
    titles += [f"{rival.name} / {mine.name}", "min-max", "same tokens %"]
    about = f"10 s each, {systems.FRAMES} frames, {systems.TOKENS} tokens, features to tokens"
    title = f"## paraformer large, {mine.name} against {rival.name}; {about}"
    say(f"{title}\n{machine(PACKAGES)}\n{align([titles, *lines])}")


@each_kind
def test_against_funasr(
    kind: str, state: State, funasr: System, settings: Settings, say: Say
) -> None:
    """FunASR's module in float32, its only arithmetic on a CPU, on the same weights."""
    mine = systems.echoic(ours(state, kind))
    lines = [
        compare(mine, funasr, batch, count, settings.runs) for batch in BATCHES for count in THREADS
    ]
    show(say, mine, funasr, lines)


@pytest.mark.parametrize("count", THREADS)
@pytest.mark.parametrize("kind", ["float32", "auto"])
def test_against_onnx(
    kind: str, count: int, state: State, exported: tuple[str, Path], settings: Settings, say: Say
) -> None:
    """Our export in onnxruntime, in float32 and with eight-bit weights."""
    precision, folder = exported
    mine = systems.echoic(ours(state, kind))
    rival = systems.onnx(folder, count, f"onnxruntime {precision}")
    lines = [compare(mine, rival, batch, count, settings.runs) for batch in BATCHES]
    show(say, mine, rival, lines)


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_against_token_by_token(kind: str, state: State, settings: Settings, say: Say) -> None:
    """A decoder that writes one token after the other behind the same encoder.

    It has the same arithmetic, and takes the likeliest token: a beam would take longer.
    """
    model, rival = ours(state, kind), systems.Autoregressive().to(getattr(torch, kind))
    titles = ["batch", "threads", "encoder s", "our decoder s", "token by token s"]
    lines = [[*titles, "decoders", "min-max", "with encoder", "min-max"]]
    for batch in BATCHES:
        x, lengths = systems.features(batch), torch.full((batch,), systems.FRAMES)
        hidden = model.encode(x, lengths)

        def decode(hidden: torch.Tensor = hidden, lengths: torch.Tensor = lengths) -> torch.Tensor:
            found = model.predictor(hidden, lengths)
            return model.decode(found, hidden, lengths).argmax(-1)

        works = [
            lambda x=x, n=lengths: model.encode(x, n),
            decode,
            lambda hidden=hidden: rival.write(hidden),
        ]
        assert decode().shape == rival.write(hidden).shape == (batch, systems.TOKENS)
        for count in THREADS:
            with threads(count):
                encoder, own, other = take_turns(works, settings.runs)
            seconds = [f"{turns.median:.3f}" for turns in (encoder, own, other)]
            ratios = *other.over(own), *(encoder + other).over(encoder + own)
            lines.append([f"{batch}", f"{count}", *seconds, *ratios])
    about = f"10 s each, {systems.TOKENS} tokens, greedy; token by token / ours"
    title = f"## paraformer large, {kind}, against a decoder of as many layers: {about}"
    say(f"{title}\n{machine(PACKAGES)}\n{align(lines)}")


def test_words_in_every_kind(rows: list[Row], settings: Settings, say: Say) -> None:
    """What the model of the box writes in each arithmetic, against what it writes in float32."""
    found = [model for model in box_models() if model.name == BOX_MODEL]
    if not found:
        pytest.skip(f"{BOX_MODEL} is not in the box of this checkout")
    if settings.manifest is None:
        rows = rows + read_rows(DATA.parent / "prompts" / "manifest.jsonl")
    texts: dict[str, list[str]] = {}
    names = {kind: kind for kind in ("float32", "auto", *able(SHORT_KINDS))}
    for kind in names:
        model = Paraformer.from_pretrained(found[0].folder)
        model.to_inference(device=systems.CPU, dtype=kind)
        names[kind] = f"auto ({model.arithmetic})" if kind == "auto" else kind
        texts[kind] = [_text(model, row) for row in rows]
    truth = [row.text for row in rows]
    exact, rate = texts["float32"], {kind: score(truth, said).rate for kind, said in texts.items()}
    lines = [["arithmetic", "equal texts", "WER to float32 %", "WER %"]]
    for kind, said in texts.items():
        equal = sum(a == b for a, b in zip(exact, said, strict=True))
        apart = [f"{100 * score(exact, said).rate:.2f}", f"{100 * rate[kind]:.2f}"]
        lines.append([names[kind], f"{equal} of {len(rows)}", *apart])
    say(f"## {BOX_MODEL}, words\n{machine(PACKAGES)}\n{align(lines)}")
    assert texts["auto"] == exact


def _text(model: Paraformer, row: Row) -> str:
    rate = model.config.frontend.sample_rate
    return model.recognize(load(row.audio, sample_rate=rate, mono=True).wav)[0].text
