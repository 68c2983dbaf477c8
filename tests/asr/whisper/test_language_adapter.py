"""Adapters of languages: their size, what they change, which row has which, files and merging."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from adapted_whisper import (
    adapted_whisper,
    calm_whisper,
    numbers,
    settings,
    small_lora,
    some_adapter,
)
from random_whisper import random_whisper
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from echoic.asr.errors import CheckpointError
from echoic.asr.options import TranscribeOptions
from echoic.asr.transcriber import Transcriber
from echoic.asr.whisper.config import WhisperConfig
from echoic.asr.whisper.language_adapter import (
    SHARE,
    LanguageAdapter,
    checked_bottleneck,
    fresh_state,
    hold,
    largest_bottleneck,
    num_parameters,
    print_of_adapter,
    print_of_model,
)
from echoic.asr.whisper.language_adapter_file import load_language_adapter, save_language_adapter
from echoic.asr.whisper.language_merge import merge_language_adapters
from echoic.asr.whisper.layer_adapters import LayerAdapters
from echoic.asr.whisper.streaming.blocks import Blocks
from echoic.asr.whisper.streaming.causal import CausalWhisper
from echoic.asr.whisper.streaming.config import CausalConfig
from echoic.asr.whisper.streaming.encoder import CausalEncoder, encode_blocks
from echoic.asr.whisper.streaming.listener import Listener
from echoic.streaming import state as states
from echoic.streaming.work import alone

BASE = WhisperConfig(51_865, 80, 512, 6, 8, 2048, 6, 8, 2048)
LARGE = WhisperConfig(51_866, 128, 1280, 32, 20, 5120, 32, 20, 5120)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("config", [BASE, LARGE], ids=["base", "large"])
def test_the_largest_adapter_has_half_a_percent_of_the_parameters(config: WhisperConfig) -> None:
    like = settings(calm_whisper())

    def share(bottleneck: int) -> float:
        sizes = {"width": config.d_model, "layers": config.encoder_layers}
        made = replace(like, bottleneck=bottleneck, **sizes)
        assert made.num_parameters == sum(t.numel() for t in fresh_state(made).values())
        return made.num_parameters / num_parameters(config)

    most = largest_bottleneck(config)
    assert share(most) <= SHARE == 0.005 < share(most + 1)
    assert checked_bottleneck(config) == checked_bottleneck(config, most) == most
    with pytest.raises(ValueError, match=rf"bottleneck is {most + 1}; .* it is 1 to {most}"):
        checked_bottleneck(config, most + 1)
    assert checked_bottleneck(config, most + 1, share=0.01) == most + 1
    with pytest.raises(ValueError, match=r"no adapter has 0\.001 % .* raise share"):
        largest_bottleneck(config, 1e-5)


def test_the_number_of_parameters_is_that_of_the_model() -> None:
    model = random_whisper()
    tensors = calm_whisper().state_dict()
    counted = sum(t.numel() for name, t in tensors.items() if not name.startswith("log_mel."))
    assert num_parameters(calm_whisper().config) == counted
    assert num_parameters(model.config) == counted - model.config.d_model


def test_a_layers_networks_are_those_of_the_paper() -> None:
    x, which = noise(3, 7, 16), numbers([2, 0, 1])
    layer = LayerAdapters(3, 16, 5)
    model = calm_whisper()
    for number in (1, 2):
        layer.put(number, some_adapter(model, seed=number, bottleneck=3 + number).layer(1))
    found = layer(x, which)
    assert torch.equal(found[1], x[1])
    for row in (0, 2):
        w = layer.get(int(which[row]))
        h = functional.layer_norm(x[row], (16,), w["norm.weight"], w["norm.bias"])
        h = functional.linear(h, w["down.weight"], w["down.bias"]).relu()
        expected = x[row] + functional.linear(h, w["up.weight"], w["up.bias"])
        torch.testing.assert_close(found[row], expected)


def test_fresh_adapters_change_nothing() -> None:
    plain, model = calm_whisper(), calm_whisper()
    config = settings(model)
    hold(model, [LanguageAdapter(config, fresh_state(config))])
    wav = noise(20_000)
    assert torch.equal(model.encode([wav], languages=["es"]).states, plain.encode([wav]).states)
    one, same, other = (fresh_state(config, seed)["layers.0.down.weight"] for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_each_window_has_the_adapter_of_its_language() -> None:
    model, plain = adapted_whisper(), calm_whisper()
    wav = noise(20_000)
    languages = ["fr", None, "es", "it"]
    with torch.no_grad():
        mixed = model.encode([wav] * 4, languages=languages).states
        base = plain.encode([wav]).states[0]
        assert torch.equal(mixed[1], base)
        assert torch.equal(mixed[3], base)
        for row, language in ((0, "fr"), (2, "es")):
            alone = model.encode([wav], languages=[language]).states[0]
            torch.testing.assert_close(mixed[row], alone)
            assert not torch.allclose(alone, base, atol=0.05)
        assert not torch.allclose(mixed[0], mixed[2], atol=0.05)
        assert torch.equal(model.encode([wav]).states[0], base)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_adapters_work_in_every_arithmetic(dtype: str) -> None:
    wav = noise(20_000)
    with torch.no_grad():
        exact = adapted_whisper().encode([wav], languages=["es"]).states
        found = adapted_whisper(dtype).encode([wav], languages=["es"]).states
    assert found.dtype == (torch.bfloat16 if dtype == "bfloat16" else torch.float32)
    tolerance = {"float32": 1e-4, "bfloat16": 0.15, "int8": 0.15}[dtype]
    torch.testing.assert_close(found.float(), exact, rtol=0, atol=tolerance)


def streamed(encoder: CausalEncoder, mel: Tensor, which: Tensor, pieces: list[int]) -> Tensor:
    state, found = encoder.initial_state(len(mel), which=which), []
    for piece in mel.split(pieces, dim=1):
        state, y = encoder.step(state, piece)
        found.append(y)
    state, y = encoder.finish(state)
    assert torch.equal(state.which, which)
    return torch.cat([*found, y], dim=1)


@pytest.mark.parametrize("blocks", [Blocks(8), Blocks(5, first=15, left_context=7)], ids=str)
def test_streams_of_different_languages_in_one_batch_are_the_one_pass(blocks: Blocks) -> None:
    model = adapted_whisper()
    encoder, mel = CausalEncoder(model.encoder, blocks), noise(3, 101, 80)
    which = model.adapters_of(["es", "it", "fr"])
    assert which is not None
    assert which.tolist() == [1, 0, 2]
    with torch.no_grad():
        whole = encoder(mel, which)
        for pieces in ([101], [1, 40, 60], [33, 2, 66]):
            found = streamed(encoder, mel, which, pieces)
            torch.testing.assert_close(found, whole, rtol=0, atol=1e-4)
        plain = encode_blocks(calm_whisper().encoder, mel, blocks)
        assert torch.equal(whole[1], plain[1])
        assert not torch.allclose(whole[0], plain[0], atol=0.05)
        # States of streams that began apart go on together.
        parts = [encoder.initial_state(1, which=which[i : i + 1]) for i in range(3)]
        parts = [encoder.step(p, mel[i : i + 1, :50])[0] for i, p in enumerate(parts)]
        _, together = encoder.step(states.stack(parts), mel[:, 50:])
        done = whole.shape[1] - together.shape[1]
        last = encoder.finish(encoder.step(states.stack(parts), mel[:, 50:])[0])[1].shape[1]
        torch.testing.assert_close(
            together, whole[:, done - last : whole.shape[1] - last], rtol=0, atol=1e-4
        )


def test_the_past_does_not_hear_the_future_through_an_adapter() -> None:
    model, blocks = adapted_whisper(), Blocks(8)
    mel, which = noise(1, 96, 80).requires_grad_(), numbers([1])
    encode_blocks(model.encoder, mel, blocks, which)[:, :24].sum().backward()
    assert mel.grad is not None
    seen = mel.grad.abs().sum((0, 2))
    assert bool((seen[:48] > 0).all())
    assert not seen[2 * 24 + 2 :].any()


def test_a_live_recogniser_hears_by_its_language() -> None:
    model = adapted_whisper("float32")
    heard = {}
    for language in ("es", "fr"):
        recognizer = CausalWhisper(model, CausalConfig(Blocks(10), language=language))
        listener: Listener = recognizer._listener
        heard[language] = alone(listener.hearing(listener.open(), noise(1, 20_000))).sound[0].keys
    plain = calm_whisper().to_inference(device=torch.device("cpu"), dtype="float32")
    listener = Listener(plain, Blocks(10), 0.0, "es")
    base = alone(listener.hearing(listener.open(), noise(1, 20_000))).sound[0].keys
    assert heard["es"].shape == base.shape
    assert not torch.allclose(heard["es"], base, atol=0.01)
    assert not torch.allclose(heard["es"], heard["fr"], atol=0.01)
    with pytest.raises(ValueError, match="language is en, the language adapters are of es, fr"):
        CausalWhisper(model, CausalConfig(Blocks(10)))


def test_recordings_are_transcribed_by_their_language(monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapted_whisper("float32")
    asked: list[object] = []
    encode = model.encode

    def spy(wavs, *, stride=8, languages=None):
        asked.append(languages)
        return encode(wavs, stride=stride, languages=languages)

    monkeypatch.setattr(model, "encode", spy)
    transcriber = Transcriber(model)
    options = TranscribeOptions(language="es", vad=False, temperatures=(0.0,))
    transcriber.transcribe(noise(8000), options, sample_rate=16_000)
    assert asked == [["es"]]
    with pytest.raises(ValueError, match="language is it, the language adapters are of es, fr"):
        transcriber.transcribe(noise(8000), replace(options, language="it"), sample_rate=16_000)


def test_files_keep_an_adapter(tmp_path: Path) -> None:
    adapter = some_adapter(calm_whisper(), "es", "fr")
    for dtype, tolerance in ((torch.float32, 0.0), (torch.float16, 1e-3)):
        save_language_adapter(tmp_path / "es", adapter, dtype=dtype)
        found = load_language_adapter(tmp_path / "es")
        assert found.config == adapter.config
        assert found.folder == tmp_path / "es"
        for name, value in adapter.state.items():
            torch.testing.assert_close(found.state[name], value, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bottleneck": 6}, r"layers.0.down.weight is .* of shape \(5, 16\), .* \(6, 16\)"),
        ({"languages": "es"}, "expected a list of codes"),
        ({"languages": ["klingon"]}, "'klingon' is none of Whisper's codes"),
        ({"model_type": "whisper"}, "model_type is 'whisper'"),
        ({"rank": 4}, "unknown rank"),
        ({"layers": 3}, "layers.2.down.bias is missing"),
        ({"width": 0}, "width is 0"),
    ],
)
def test_a_folder_that_contradicts_itself_is_refused(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    save_language_adapter(tmp_path, some_adapter(calm_whisper()), dtype=torch.float32)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=message) as error:
        load_language_adapter(tmp_path)
    assert str(tmp_path) in str(error.value)
    assert ";" in str(error.value), "no remedy"


def test_what_is_no_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is no language adapter: it has no config\.json; "):
        load_language_adapter(tmp_path / "none")
    save_language_adapter(tmp_path, some_adapter(calm_whisper()), dtype=torch.float32)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    tensors["layers.0.up.bias"][0] = torch.nan
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=r"layers\.0\.up\.bias holds NaN"):
        load_language_adapter(tmp_path)
    path.write_bytes(b"pickle")
    with pytest.raises(CheckpointError, match="is not there or damaged"):
        load_language_adapter(tmp_path)


def test_an_adapter_of_another_model_is_refused() -> None:
    model = calm_whisper()
    adapter, lora = some_adapter(model), small_lora(model)
    causal = replace(adapter.config, causal_print=print_of_adapter(lora))
    other = replace(causal, causal_print=print_of_adapter(small_lora(model, seed=4)))
    trained = calm_whisper()
    with torch.no_grad():
        trained.encoder.layer_norm.weight.add_(0.1)
    for found, config, given, message in (
        (model, replace(adapter.config, width=32), None, "2 encoder layers of width 32, this"),
        (trained, adapter.config, None, "was trained on other weights"),
        (model, adapter.config, lora, "on whole windows, and this model hears in blocks; trans"),
        (model, causal, None, "on a causal model, and this one hears whole windows; stream"),
        (model, other, lora, "on another causal model"),
    ):
        with pytest.raises(CheckpointError, match=message):
            hold(found, [LanguageAdapter(config, adapter.state)], causal=given)
    hold(model, [LanguageAdapter(causal, adapter.state)], causal=lora)
    with pytest.raises(ValueError, match="two adapters are of es"):
        hold(model, [adapter, some_adapter(model, "fr", "es")])
    with pytest.raises(ValueError, match="turned to inference"):
        hold(random_whisper(multilingual=True), [adapter])


def test_a_print_is_the_same_in_half_precision_and_after_lora() -> None:
    model, half = calm_whisper(), calm_whisper()
    for weight in half.parameters():
        weight.data = weight.data.half().float()
    with torch.no_grad():
        half.encoder.blocks()[0].fc1.weight.add_(1.0)
    assert print_of_model(half) == print_of_model(model)


def test_the_mean_of_an_adapter_and_itself_is_itself() -> None:
    adapter = some_adapter(calm_whisper())
    for count in (1, 2, 3):
        merged = merge_language_adapters([adapter] * count)
        assert merged.config == adapter.config
        assert all(torch.equal(merged.state[n], t) for n, t in adapter.state.items())


def test_a_weighted_mean_is_of_all_languages() -> None:
    model = calm_whisper()
    es, fr = some_adapter(model, "es"), some_adapter(model, "fr", "it", seed=2)
    merged = merge_language_adapters([es, fr], [0.25, 0.75])
    assert merged.config.languages == ("es", "fr", "it")
    for name, value in merged.state.items():
        torch.testing.assert_close(value, 0.25 * es.state[name] + 0.75 * fr.state[name])
    assert hold(model, [merged]).adapter_numbers == {"es": 1, "fr": 1, "it": 1}


def test_what_has_no_mean_is_refused() -> None:
    model = calm_whisper()
    es = some_adapter(model, "es")
    for other in (
        some_adapter(model, "fr", bottleneck=4),
        some_adapter(model, "fr", base_print="other"),
        some_adapter(model, "fr", causal_print="other"),
    ):
        with pytest.raises(CheckpointError, match="of another model or size"):
            merge_language_adapters([es, other])
    for weights, message in (
        ([0.5], "1 weights for 2 adapters"),
        ([0.5, 0.6], "of sum 1.1: expected shares"),
        ([-0.5, 1.5], "expected shares"),
    ):
        with pytest.raises(ValueError, match=message):
            merge_language_adapters([es, es], weights)
    with pytest.raises(ValueError, match="no adapters to merge"):
        merge_language_adapters([])
