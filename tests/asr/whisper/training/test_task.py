"""A training step, what it may touch, and what comes out of a run."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from clicking_corpus import clicking_corpus, write_corpus
from torch import Tensor, nn
from whisper_factory import SMALL, random_state, write_folder

from echoic.asr.errors import CheckpointError
from echoic.asr.whisper.adapter import load_adapter, merge
from echoic.asr.whisper.checkpoint import load_checkpoint
from echoic.asr.whisper.model import WhisperModel
from echoic.asr.whisper.streaming.encoder import encode_blocks
from echoic.asr.whisper.streaming.load import load_causal_model, load_recognizer
from echoic.asr.whisper.training import task as task_module
from echoic.asr.whisper.training.data import Batch, BatchConfig
from echoic.asr.whisper.training.datamodule import CausalWhisperData, Corpus
from echoic.asr.whisper.training.export import export_adapter, read_run
from echoic.asr.whisper.training.lora import LoraSettings, add_lora, load_lora_state, lora_state
from echoic.asr.whisper.training.moments import decode
from echoic.asr.whisper.training.schedule import Timing
from echoic.asr.whisper.training.task import CausalWhisperTask, OptimizerConfig

LITTLE = BatchConfig(
    seconds=4.0, lengths=(2.0,), block_sizes=(5, 10), block_weights=(1, 1), longest_first=15
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Whisper with weights that do not blow up."""
    state = {
        name: 0.2 * value if value.dim() > 1 and "embed" not in name else value
        for name, value in random_state().items()
    }
    return write_folder(tmp_path_factory.mktemp("whisper") / "small", state)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    return write_corpus(folder / "aligned.jsonl", clicking_corpus(folder))


def data(base: Path, corpus: Path, **options: Any) -> CausalWhisperData:
    options = {"timing": Timing(0.1, 0.4), "batches": LITTLE, **options}
    return CausalWhisperData(
        [Corpus(str(corpus))], base=str(base), num_workers=0, validation_batches=2, **options
    )


def task(base: Path, **options: Any) -> CausalWhisperTask:
    options = {"lora": LoraSettings(rank=4, targets="attention+mlp"), **options}
    optimizer = OptimizerConfig(learning_rate=0.01, warmup_steps=2, total_steps=20)
    return CausalWhisperTask(str(base), optimizer=optimizer, **options)


def shaken(found: CausalWhisperTask, seed: int = 0) -> CausalWhisperTask:
    """Give the adapters an effect."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in found.model.named_parameters():
        if "lora_B" in name:
            weight.data = 0.1 * torch.randn(weight.shape, generator=generator)
    return found


@pytest.fixture
def batch(base: Path, corpus: Path) -> Batch:
    return next(iter(data(base, corpus).train_dataloader()))


def logits(model: WhisperModel, batch: Batch) -> Tensor:
    with torch.no_grad():
        encoded = encode_blocks(model.encoder, batch.mel, batch.blocks)
        return model.decoder.logits(decode(model.decoder, batch.plan, encoded))


def test_fresh_adapters_change_nothing(base: Path, batch: Batch) -> None:
    untouched = WhisperModel.from_checkpoint(load_checkpoint(str(base)))
    found = task(base)
    assert torch.equal(logits(found.model, batch), logits(untouched, batch))
    assert not torch.allclose(logits(shaken(found).model, batch), logits(untouched, batch))


@pytest.mark.parametrize(("targets", "each"), [("attention", 0), ("attention+mlp", 2)])
def test_which_products_have_adapters(base: Path, targets: Any, each: int) -> None:
    found = task(base, lora=LoraSettings(rank=3, targets=targets))
    names = {name.rpartition(".lora_")[0] for name in lora_state(found.model)}
    layers = SMALL.encoder_layers + SMALL.decoder_layers
    assert len(names) == 4 * SMALL.encoder_layers + 8 * SMALL.decoder_layers + each * layers
    assert "decoder.layers.1.encoder_attn.out_proj" in names
    assert all(v.shape[0] == 3 for n, v in lora_state(found.model).items() if "lora_A" in n)


def test_only_the_adapters_learn(base: Path, batch: Batch) -> None:
    found = shaken(task(base))
    found(batch).total.backward()
    with_gradient = {n for n, p in found.model.named_parameters() if p.grad is not None}
    assert with_gradient == {n for n, _ in found.model.named_parameters() if "lora_" in n}
    assert all(float(p.grad.abs().sum()) > 0 for p in found.parameters() if p.grad is not None)


@pytest.mark.parametrize("form", ["tail", "prefix"])
def test_a_step_is_one_pass_of_the_encoder_and_one_of_the_decoder(
    base: Path, corpus: Path, form: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            calls.append(name)
            return function(*arguments)

        return run

    found = task(base)
    monkeypatch.setattr(task_module, "encode_blocks", counted("encode", encode_blocks))
    monkeypatch.setattr(task_module, "decode", counted("decode", decode))
    for layer in found.model.encoder.layers:
        layer.register_forward_hook(lambda *_: calls.append("whole layer"))
    convolutions: list[int] = []
    found.model.encoder.conv1.register_forward_hook(lambda *_: convolutions.append(1))
    batch = next(iter(data(base, corpus, form=form).train_dataloader()))
    waits = batch.plan.targets == found.model.generation.eos_token_id
    assert int(waits.sum(1).min()) >= 2  # several moments of each window
    found(batch)
    assert calls == ["encode", "decode"]
    assert convolutions == [1]


def test_the_loss_falls(base: Path, batch: Batch) -> None:
    found = task(base, distillation=0.3)
    weights = [p for p in found.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=0.05)
    losses = []
    for _ in range(40):
        loss = found(batch)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        losses.append(loss.total.item())
    assert losses[-1] < 0.8 * losses[0]


def test_adapters_go_out_and_in_again(base: Path, batch: Batch) -> None:
    found, other = shaken(task(base)), task(base)
    state = lora_state(found.model)
    assert all(".default." not in name for name in state)
    load_lora_state(other.model, state)
    assert torch.equal(logits(found.model, batch), logits(other.model, batch))
    wrong = task(base, lora=LoraSettings(rank=4, targets="attention"))
    with pytest.raises(ValueError, match="names differ: take the settings it was trained with"):
        load_lora_state(wrong.model, state)
    narrow = task(base, lora=LoraSettings(rank=2, targets="attention+mlp"))
    with pytest.raises(RuntimeError, match="size"):
        load_lora_state(narrow.model, state)


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="rank is 0"):
        LoraSettings(rank=0)
    with pytest.raises(ValueError, match="targets is 'all'"):
        LoraSettings(targets="all")  # pyright: ignore[reportArgumentType]


def test_add_lora_freezes_the_rest() -> None:
    layer = nn.ModuleDict({"self_attn": nn.ModuleDict({"q_proj": nn.Linear(4, 4)})})
    add_lora(layer, LoraSettings(rank=2))
    learning = {name for name, weight in layer.named_parameters() if weight.requires_grad}
    assert {name.split(".lora_")[1][0] for name in learning} == {"A", "B"}


class Numbers(lightning.Callback):
    """Remembers the batches of a run, by what is in them, and the learning rates."""

    def __init__(self) -> None:
        self.sums: list[float] = []
        self.rates: list[float] = []

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        self.sums.append(float(batch.mel.double().sum()))
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def fit(
    folder: Path, steps: int, found: CausalWhisperTask, module: CausalWhisperData, **options: Any
) -> Numbers:
    numbers = Numbers()
    trainer = lightning.Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=[numbers],
        default_root_dir=folder,
    )
    trainer.fit(found, datamodule=module, **options)
    trainer.save_checkpoint(folder / f"{steps}.ckpt")
    return numbers


@pytest.fixture(scope="module")
def run(
    base: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, CausalWhisperTask, Numbers]:
    """Two steps, then two more from their checkpoint; and four in one go."""
    folder = tmp_path_factory.mktemp("run")
    whole_task = task(base)
    fresh = copy.deepcopy(lora_state(whole_task.model))
    whole = fit(folder / "whole", 4, whole_task, data(base, corpus))
    first = task(base)
    load_lora_state(first.model, fresh)
    begun = fit(folder, 2, first, data(base, corpus))
    resumed = fit(folder, 4, task(base), data(base, corpus), ckpt_path=str(folder / "2.ckpt"))
    resumed.sums = begun.sums + resumed.sums
    resumed.rates = begun.rates + resumed.rates
    assert resumed.sums == whole.sums
    assert resumed.rates == pytest.approx(whole.rates)
    return folder, whole_task, whole


def test_a_resumed_run_sees_what_it_would_have_seen_and_learns_the_same(run) -> None:
    folder, _, whole = run
    assert len(set(whole.sums)) == 4
    a = torch.load(folder / "4.ckpt", weights_only=True)
    b = torch.load(folder / "whole" / "4.ckpt", weights_only=True)
    assert a["global_step"] == b["global_step"] == 4
    for name, value in b["state_dict"].items():
        torch.testing.assert_close(a["state_dict"][name], value, rtol=1e-4, atol=1e-6)


def test_the_rate_rises_and_falls(run) -> None:
    _, _, whole = run
    assert whole.rates[:2] == pytest.approx([0.005, 0.01])
    assert whole.rates[2] > whole.rates[3]


def test_a_checkpoint_holds_adapters_and_what_their_user_must_know(run, base: Path) -> None:
    folder, trained, _ = run
    values = read_run(folder / "4.ckpt")
    assert set(values["state_dict"]) == set(lora_state(trained.model))
    assert values["adapter"]["base"] == str(base)
    assert values["adapter"]["lora"] == {
        "rank": 4, "alpha": None, "targets": "attention+mlp", "dropout": 0.0
    }  # fmt: skip
    assert values["adapter"]["streaming"]["block_frames"] == [5, 10]
    assert values["adapter"]["streaming"]["hold_seconds"] == 0.4


def test_an_exported_adapter_is_the_trained_model(run, base: Path, batch: Batch, tmp_path) -> None:
    folder, trained, _ = run
    shaken(trained)
    checkpoint = torch.load(folder / "whole" / "4.ckpt", weights_only=True)
    checkpoint["state_dict"] = lora_state(trained.model)
    torch.save(checkpoint, tmp_path / "shaken.ckpt")
    export_adapter(tmp_path / "shaken.ckpt", tmp_path / "adapter")
    adapter = load_adapter(tmp_path / "adapter")
    merged = merge(WhisperModel.from_checkpoint(load_checkpoint(str(base))), adapter)
    expected, found = logits(trained.model, batch), logits(merged, batch)
    untouched = logits(WhisperModel.from_checkpoint(load_checkpoint(str(base))), batch)
    # Half precision in the file.
    scale = float((expected - untouched).abs().max())
    assert scale > 0
    torch.testing.assert_close(found, expected, rtol=0, atol=0.01 * scale)
    assert adapter.metadata["steps"] == "4"
    assert adapter.streaming is not None
    assert adapter.streaming.hold_seconds == 0.4
    assert load_causal_model(adapter, device=torch.device("cpu")).arithmetic.encoder == "float32"
    recognizer = load_recognizer(tmp_path / "adapter", chunk_ms=200)
    state, _ = recognizer.step(recognizer.initial_state(), torch.zeros(1, 16_000))
    recognizer.finish(state)


def test_a_base_that_lies_beside_is_found_from_anywhere(
    base: Path, tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = torch.load(run[0] / "4.ckpt", weights_only=True)
    monkeypatch.chdir(base.parent)
    for number, name in enumerate(("./small", "small")):
        checkpoint["adapter"]["base"] = name
        torch.save(checkpoint, tmp_path / "relative.ckpt")
        export_adapter(tmp_path / "relative.ckpt", tmp_path / f"adapter{number}")
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        assert load_recognizer(tmp_path / f"adapter{number}", chunk_ms=200).sample_rate == 16_000


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not there; give a \\.ckpt file"):
        read_run(tmp_path / "none.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    torch.save({"adapter": Path("code")}, tmp_path / "code.ckpt")
    for name, message in (
        ("text", "was refused"),
        ("other", "holds no adapter"),
        ("code", "was refused: not a checkpoint of tensors and plain values"),
    ):
        with pytest.raises(CheckpointError, match=message):
            read_run(tmp_path / f"{name}.ckpt")


def test_a_run_without_an_end_is_refused(base: Path, corpus: Path, tmp_path: Path) -> None:
    found = task(base)
    found.optimizer_config = replace(found.optimizer_config, total_steps=None)
    with pytest.raises(ValueError, match=r"trainer\.max_steps is -1, and batches have no end"):
        fit(tmp_path, -1, found, data(base, corpus))
