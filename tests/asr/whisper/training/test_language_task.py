"""A language adapter's training: what learns, from what, and what comes out of a run."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from clicking_corpus import clicking_corpus, write_corpus
from torch import Tensor
from torch.utils.data import DataLoader
from whisper_factory import SMALL, random_state, write_folder

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.training.effects import Effects
from echoic.asr.paraformer.training.plan import BatchConfig as Whole
from echoic.asr.whisper.adapter import AdapterConfig, StreamingAdapterConfig, load_adapter, merge
from echoic.asr.whisper.adapter import save_adapter as save_lora
from echoic.asr.whisper.checkpoint import load_checkpoint
from echoic.asr.whisper.encoder import EncodedWindows
from echoic.asr.whisper.language_adapter import SHARE, LanguageAdapter, hold, num_parameters
from echoic.asr.whisper.language_adapter_file import load_language_adapter, save_language_adapter
from echoic.asr.whisper.model import WhisperModel
from echoic.asr.whisper.streaming.encoder import encode_blocks
from echoic.asr.whisper.streaming.load import load_recognizer
from echoic.asr.whisper.training.data import Batch, BatchConfig
from echoic.asr.whisper.training.datamodule import CausalWhisperData, Corpus
from echoic.asr.whisper.training.language_data import LanguageAdapterData
from echoic.asr.whisper.training.language_export import adapter_of_run, adapter_of_runs
from echoic.asr.whisper.training.language_task import (
    ADAPTER_KEY,
    MEAN_KEY,
    LanguageAdapterTask,
)
from echoic.asr.whisper.training.optimizer import OptimizerConfig
from echoic.asr.whisper.training.plan import IGNORED
from echoic.asr.whisper.training.whole import WholeBatch, decode_whole
from echoic.audio.augment import Noise, SpecAugment, Speed
from echoic.audio.data.manifest import Source

QUERY = "encoder.layers.1.self_attn.q_proj"
LITTLE = BatchConfig(
    seconds=4.0, lengths=(2.0,), block_sizes=(5, 10), block_weights=(1, 1), longest_first=15
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small multilingual Whisper with weights that do not blow up."""
    config = replace(SMALL, vocab_size=51_865)
    state = {
        name: 0.2 * value if value.dim() > 1 and "embed" not in name else value
        for name, value in random_state(config).items()
    }
    return write_folder(tmp_path_factory.mktemp("whisper") / "small", state, config)


@pytest.fixture(scope="module")
def lora(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal adapter of it."""
    folder = tmp_path_factory.mktemp("lora") / "causal"
    generator = torch.Generator().manual_seed(1)
    width = SMALL.d_model
    state = {
        f"{QUERY}.lora_A.weight": torch.randn(2, width, generator=generator),
        f"{QUERY}.lora_B.weight": torch.randn(width, 2, generator=generator),
    }
    config = AdapterConfig(2, 2, f".*{QUERY}", base_model=str(base))
    streaming = StreamingAdapterConfig(str(base), (5, 10), None, 0.0, 0.1, 0.4)
    save_lora(folder, state, config, streaming=streaming)
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings with texts in two languages, and one without, beside an aligned manifest."""
    folder = tmp_path_factory.mktemp("corpus")
    utterances = clicking_corpus(folder)
    write_corpus(folder / "aligned.jsonl", utterances)
    rows = [
        {"audio": u.audio, "duration": u.duration, "text": f"Hola {u.text}.", "lang": "es"}
        for u in utterances
    ]
    rows[1]["lang"] = "fr"
    rows.append({**rows[0], "text": ""})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "manifest.jsonl").write_text(lines)
    return folder


def whole_data(base: Path, corpus: Path, **options: Any) -> LanguageAdapterData:
    source = Source(str(corpus / "manifest.jsonl"), lang="es")
    options = {"batches": Whole(6.0, 4), "language": "es", **options}
    return LanguageAdapterData([source], [source], base=str(base), **options)


def moments_data(base: Path, corpus: Path) -> CausalWhisperData:
    given = [Corpus(str(corpus / "aligned.jsonl"))]
    return CausalWhisperData(given, base=str(base), language="es", batches=LITTLE, num_workers=0)


def task(base: Path, **options: Any) -> LanguageAdapterTask:
    optimizer = OptimizerConfig(learning_rate=0.01, warmup_steps=2)
    return LanguageAdapterTask("spanish", str(base), optimizer=optimizer, **options)


def plain(base: Path) -> WhisperModel:
    return WhisperModel.from_checkpoint(load_checkpoint(str(base)))


def encoded(model: WhisperModel, batch: WholeBatch, which: Tensor | None) -> EncodedWindows:
    with torch.no_grad():
        return model.encoder.encode_padded(batch.mel, batch.lengths, stride=8, which=which)


@pytest.fixture
def batch(base: Path, corpus: Path) -> WholeBatch:
    return next(iter(whole_data(base, corpus).train_dataloader()))


def test_an_adapter_has_half_a_percent_of_the_parameters_and_alone_learns(
    base: Path, batch: WholeBatch
) -> None:
    found = task(base)
    count = sum(p.numel() for p in found.parameters() if p.requires_grad)
    assert (
        count
        == found.config.num_parameters
        == sum(t.numel() for t in found.adapter_state().values())
    )
    assert 0.9 * SHARE < count / num_parameters(found.model.config) <= SHARE
    found(batch).backward()
    with_gradient = {n for n, p in found.named_parameters() if p.grad is not None}
    assert with_gradient == {n for n, _ in found.named_parameters() if ".adapters." in n}
    # What goes up is zero, so that nothing before it learns at the first step.
    grads = {n.rpartition(".")[2]: p.grad for n, p in found.named_parameters()}
    assert {n for n, g in grads.items() if g is not None and g.any()} == {"up_weight", "up_bias"}
    most = found.config.bottleneck
    with pytest.raises(ValueError, match=f"bottleneck is {most + 1}; .* or raise share"):
        task(base, bottleneck=most + 1)
    assert task(base, bottleneck=most + 1, share=0.01).config.bottleneck == most + 1


def test_a_fresh_adapter_changes_nothing(base: Path, batch: WholeBatch) -> None:
    found, which = task(base), torch.zeros(len(batch.mel), dtype=torch.int64)
    expected = encoded(plain(base), batch, None)
    assert torch.equal(encoded(found.model, batch, which).states, expected.states)


def test_the_decoder_over_whole_texts_is_the_one_that_decodes(
    base: Path, batch: WholeBatch
) -> None:
    model = plain(base)
    heard = encoded(model, batch, None)
    with torch.no_grad():
        found = decode_whole(model.decoder, batch.tokens, heard)
        expected = model.decoder(batch.tokens, model.decoder.start(*heard))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_a_batch_holds_the_texts_of_the_language(base: Path, corpus: Path) -> None:
    data = whole_data(base, corpus)
    data.check()
    tokenizer = data.tokenizer
    texts = []
    loader = data.val_dataloader()
    assert isinstance(loader, DataLoader)
    for batch in loader:
        assert (batch.lengths <= batch.mel.shape[1] // 2 - 2).all()
        for fed, asked in zip(batch.tokens.tolist(), batch.targets.tolist(), strict=True):
            assert fed[:4] == list(tokenizer.prompt("es"))
            assert asked[:3] == [IGNORED] * 3
            said = [i for i in asked if i != IGNORED]
            assert said[-1] == tokenizer.eot
            assert fed[4 : 3 + len(said)] == said[:-1]
            texts.append(tokenizer.decode(said[:-1]))
    assert sorted(texts) == [" Hola u0.", " Hola u2.", " Hola u3."]
    with pytest.raises(ValueError, match="no utterances of lang 'it' with a text"):
        LanguageAdapterData([replace(data.train[0], lang="it")], base=str(base)).check()


def test_sound_is_changed_the_same_for_each_number(base: Path, corpus: Path) -> None:
    effects = Effects(speed=Speed(probability=1.0), noise=Noise(probability=1.0))
    options: dict[str, Any] = {"augment": effects, "spec_augment": SpecAugment()}
    first, again = (
        next(iter(whole_data(base, corpus, **options).train_dataloader())) for _ in range(2)
    )
    assert torch.equal(first.mel, again.mel)
    clean = next(iter(whole_data(base, corpus).train_dataloader()))
    assert torch.equal(first.tokens, clean.tokens)
    assert first.mel.shape != clean.mel.shape or not torch.allclose(first.mel, clean.mel)


def test_the_loss_falls(base: Path, batch: WholeBatch) -> None:
    found = task(base, label_smoothing=0.0)
    weights = [p for p in found.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=0.05)
    losses = []
    for _ in range(30):
        loss = found(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_a_causal_model_learns_from_moments(base: Path, lora: Path, corpus: Path) -> None:
    found = task(base, causal=str(lora))
    batch: Batch = next(iter(moments_data(base, corpus).train_dataloader()))
    which = torch.zeros(len(batch.mel), dtype=torch.int64)
    causal = merge(plain(base), load_adapter(lora))
    expected = encode_blocks(causal.encoder, batch.mel, batch.blocks)
    assert torch.equal(encode_blocks(found.model.encoder, batch.mel, batch.blocks, which), expected)
    found(batch).backward()
    assert all((p.grad is not None) == (".adapters." in n) for n, p in found.named_parameters())
    assert found.config.causal_print is not None


def test_data_of_the_other_kind_are_refused(
    base: Path, lora: Path, corpus: Path, batch: WholeBatch
) -> None:
    with pytest.raises(ValueError, match="take CausalWhisperData"):
        task(base, causal=str(lora))(batch)
    moments = next(iter(moments_data(base, corpus).train_dataloader()))
    with pytest.raises(ValueError, match="take LanguageAdapterData"):
        task(base)(moments)


def fit(folder: Path, steps: int, found: Any, data: Any, **options: Any) -> Path:
    trainer = lightning.Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=folder,
        limit_val_batches=1,
    )
    trainer.fit(found, datamodule=data, **options)
    trainer.save_checkpoint(folder / f"{steps}.ckpt")
    return folder / f"{steps}.ckpt"


@pytest.fixture(scope="module")
def run(base: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps, then two more from their checkpoint; and four in one go."""
    folder = tmp_path_factory.mktemp("run")
    options: dict[str, Any] = {"ema_decay": 0.5, "bottleneck": 4}
    whole = fit(folder / "whole", 4, task(base, **options), whole_data(base, corpus))
    half = fit(folder, 2, task(base, **options), whole_data(base, corpus))
    resumed = fit(folder, 4, task(base, **options), whole_data(base, corpus), ckpt_path=str(half))
    a, b = (torch.load(path, weights_only=True) for path in (resumed, whole))
    for key in ("state_dict", MEAN_KEY):
        for name, value in b[key].items():
            torch.testing.assert_close(a[key][name], value, rtol=1e-3, atol=1e-5)
    return resumed


def test_a_checkpoint_holds_the_adapter_alone(run: Path, base: Path) -> None:
    values = torch.load(run, weights_only=True)
    found = task(base, bottleneck=4)
    assert set(values["state_dict"]) == set(found.config.shapes) == set(values[MEAN_KEY])
    assert values[ADAPTER_KEY]["languages"] == ("es",)
    assert values[ADAPTER_KEY]["base_model"] == str(base)
    assert any(t.any() for n, t in values["state_dict"].items() if "up" in n)
    with pytest.raises(ValueError, match="an adapter of other sizes"):
        task(base, bottleneck=3).load_state_dict(values["state_dict"])


def test_an_exported_adapter_is_the_trained_one(
    run: Path, base: Path, batch: WholeBatch, tmp_path: Path
) -> None:
    values = torch.load(run, weights_only=True)
    found = task(base, bottleneck=4)
    found.load_state_dict(values["state_dict"])
    save_language_adapter(tmp_path, adapter_of_run(run, averaged=False), dtype=torch.float32)
    model = hold(plain(base), [load_language_adapter(tmp_path)])
    which = torch.zeros(len(batch.mel), dtype=torch.int64)
    expected = encoded(found.model, batch, which).states
    assert torch.equal(encoded(model, batch, which + 1).states, expected)
    assert not torch.equal(encoded(model, batch, which).states, expected)
    mean = adapter_of_run(run)
    assert all(torch.equal(mean.state[n], t) for n, t in values[MEAN_KEY].items())
    both = adapter_of_runs([run, run])
    assert all(torch.equal(both.state[n], t) for n, t in mean.state.items())


def test_the_running_mean_is_what_is_validated(base: Path, batch: WholeBatch) -> None:
    found = task(base).eval()
    plain_loss = float(found(batch))
    found.mean = {name: value.clone() for name, value in found.adapter_state().items()}
    with torch.no_grad():
        for network in found.networks():
            network.up_bias[:, ::2] += 1.0  # all alike would be lost in the next norm
    assert float(found(batch)) != pytest.approx(plain_loss, rel=1e-4)
    with found._averaged():
        assert float(found(batch)) == pytest.approx(plain_loss)
    assert float(found(batch)) != pytest.approx(plain_loss, rel=1e-4)
    assert isinstance(found.adapter(), LanguageAdapter)
    assert not found.adapter().state["layers.0.up.bias"].any()


def test_an_adapter_of_a_causal_model_streams_with_it(
    base: Path, lora: Path, tmp_path: Path
) -> None:
    found = task(base, causal=str(lora))
    save_language_adapter(tmp_path, found.adapter())
    recognizer = load_recognizer(lora, chunk_ms=200, language="es", language_adapters=[tmp_path])
    state, _ = recognizer.step(recognizer.initial_state(), torch.zeros(1, 16_000))
    recognizer.finish(state)
    with pytest.raises(ValueError, match="language is fr, the language adapters are of es"):
        load_recognizer(lora, chunk_ms=200, language="fr", language_adapters=[tmp_path])
    with pytest.raises(CheckpointError, match="trained on a causal model"):
        load_recognizer(base, policy="agreement", language="es", language_adapters=[tmp_path])


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")
    for name, message in (
        ("none", "is not there; give a"),
        ("other", "holds no language adapter"),
        ("text", "was refused"),
    ):
        with pytest.raises(CheckpointError, match=message):
            adapter_of_run(tmp_path / f"{name}.ckpt")
    with pytest.raises(ValueError, match=r"ema_decay is 1"):
        LanguageAdapterTask("es", "tiny.en", ema_decay=1.0)
