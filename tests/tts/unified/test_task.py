"""The three stages: they learn, resume, and each begins with what the last one left."""

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from codec_runs import Losses, trainer
from coded_speech import SETTINGS, write_corpus
from lightning.pytorch.callbacks import ModelCheckpoint
from small_unified import LLAMA, frames
from small_unified import settings as llm

from echoic.codecs.training.optimization import OptimizerConfig
from echoic.tts.errors import TtsError
from echoic.tts.training.coded import CodedCorpus
from echoic.tts.unified.config import LoraSettings, UnifiedSettings
from echoic.tts.unified.files import load_unified, save_unified
from echoic.tts.unified.sequences import Segment
from echoic.tts.unified.training.data import UnifiedData
from echoic.tts.unified.training.example_file import Codes, Pair, write_examples
from echoic.tts.unified.training.export import unified_of_run
from echoic.tts.unified.training.loss import LossConfig
from echoic.tts.unified.training.packing import PackShape
from echoic.tts.unified.training.preference import PreferenceConfig
from echoic.tts.unified.training.preference_data import PreferenceData
from echoic.tts.unified.training.sources import MixSource
from echoic.tts.unified.training.task import AlignTask, UnifiedTask

FORM = SETTINGS.format
SMALL = LLAMA | {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
FAST = OptimizerConfig(learning_rate=1e-2, warmup_steps=2, betas=(0.9, 0.95))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text("one line\n\nand another\n")
    return write_corpus(tmp_path / "corpus")


def data(corpus: Path, **changes: Any) -> UnifiedData:
    here = str(corpus)
    values: dict[str, Any] = {
        "train": [
            MixSource("text", str(corpus.parent / "text.txt"), share=0.1),
            MixSource("audio", here, "train", 0.5),
            MixSource("speak", here, "train", 0.5),
            MixSource("write", here, "train", 0.5),
        ],
        "validation": [MixSource("speak", here, "dev")],
        "shape": PackShape(2, 300),
    }
    return UnifiedData(**(values | changes))


def task(**changes: Any) -> UnifiedTask:
    return UnifiedTask(llm(architecture=SMALL, **changes), FAST)


def fit(module: UnifiedTask, given: Any, steps: int, **changes: Any) -> list[dict[str, float]]:
    losses, callbacks = Losses(), changes.pop("callbacks", [])
    checkpoint = changes.pop("ckpt_path", None)
    runner = trainer(steps, losses, *callbacks, **changes)
    runner.fit(module, datamodule=given, ckpt_path=checkpoint)
    assert runner.global_step == steps
    return losses.steps


def pairs(corpus: Path) -> Path:
    found = CodedCorpus(corpus)
    made = [
        Pair([Segment(line.text)], [Segment(found.frames(i))], [Segment(frames(9, i, FORM))])
        for i, line in enumerate(found.lines)
    ]
    path = corpus.parent / "pairs.jsonl"
    write_examples(path, Codes(FORM, SETTINGS.codec_hash), made)
    return path


def test_it_learns_and_tells_of_text_and_speech(corpus: Path) -> None:
    steps = fit(task(), data(corpus), 40)
    first, last = (sum(s["train/loss"] for s in part) for part in (steps[:5], steps[-5:]))
    assert last < 0.7 * first
    told = set().union(*steps)
    assert {"train/text", "train/audio", "train/filled", "train/norm"} <= told
    assert 0.5 < sum(s["train/filled"] for s in steps) / len(steps) <= 1


@pytest.mark.parametrize("lora", [None, LoraSettings(2, dropout=0.1)])
def test_a_resumed_run_has_the_losses_of_one_that_was_not_stopped(
    corpus: Path, tmp_path: Path, lora: LoraSettings | None
) -> None:
    saver = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=2, save_top_k=-1)
    whole = task(lora=lora)
    expected = fit(whole, data(corpus), 5, callbacks=[saver], enable_checkpointing=True)
    torch.manual_seed(99)
    resumed = task(lora=lora)
    steps = fit(resumed, data(corpus), 5, ckpt_path=str(tmp_path / "step=2.ckpt"))
    assert steps == expected[2:]
    ours, theirs = resumed.state_dict(), whole.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    kept = torch.load(tmp_path / "step=2.ckpt", weights_only=True)["state_dict"]
    words = {n for n in kept if "lora_" not in n and n not in ("model.rows", "model.head_rows")}
    assert (words == set()) == (lora is not None)


class Numbers(lightning.Callback):
    """Which batches came."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        self.seen.append(batch.number)


def test_steps_of_several_batches_go_on_where_they_stopped(corpus: Path, tmp_path: Path) -> None:
    short = {"accumulate_grad_batches": 2, "precision": "bf16-mixed"}
    saver = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    first, later = Numbers(), Numbers()
    losses = fit(
        task(), data(corpus), 2, callbacks=[saver, first], enable_checkpointing=True, **short
    )
    assert first.seen == [0, 1, 2, 3]
    path = str(tmp_path / "step=1.ckpt")
    again = fit(task(), data(corpus), 2, callbacks=[later], ckpt_path=path, **short)
    assert later.seen == [2, 3]
    assert [s["train/loss"] for s in again] == [s["train/loss"] for s in losses[2:]]


def test_validation_sees_each_document_once(corpus: Path) -> None:
    module = task()
    runner = trainer(1, val_check_interval=1, check_val_every_n_epoch=None, limit_val_batches=1.0)
    given = data(corpus)
    runner.fit(module, datamodule=given)
    assert {"val/loss", "val/audio"} <= set(runner.callback_metrics)
    loader = given.val_dataloader()
    assert not isinstance(loader, list)
    ends = sum(int((b.targets == module.unified.model.vocabulary.end).sum()) for b in loader)
    assert ends == len(CodedCorpus(corpus, "dev"))


def test_from_stage_to_stage(corpus: Path, tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, "first", every_n_train_steps=6)
    fit(task(), data(corpus), 6, callbacks=[saver], enable_checkpointing=True)
    save_unified(unified_of_run(tmp_path / "first.ckpt"), tmp_path / "first")
    again = UnifiedSettings(base=str(tmp_path / "first"), lora=LoraSettings(2))
    tuned = UnifiedTask(again, FAST)
    turns = tmp_path / "turns.jsonl"
    example = [Segment("hello"), Segment(frames(6, 0, FORM), True)]
    write_examples(turns, Codes(FORM, SETTINGS.codec_hash), [example])
    second = data(
        corpus,
        train=[MixSource("examples", str(turns)), MixSource("speak", str(corpus), "train")],
        loss=LossConfig(0.0, True),
    )
    saver = ModelCheckpoint(tmp_path, "second", every_n_train_steps=4)
    fit(tuned, second, 4, callbacks=[saver], enable_checkpointing=True)
    exported = unified_of_run(tmp_path / "second.ckpt")
    ours, theirs = exported.model.state_dict(), tuned.unified.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    save_unified(exported, tmp_path / "second")
    ids = exported.sequencer.document(example).ids[None]
    found = load_unified(tmp_path / "second").model.states(ids)
    torch.testing.assert_close(found, exported.model.states(ids), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("lora", [None, LoraSettings(2)])
def test_it_learns_to_prefer_and_resumes(
    corpus: Path, tmp_path: Path, lora: LoraSettings | None
) -> None:
    def aligned() -> AlignTask:
        preference = PreferenceConfig(beta=0.1, positive=1.0)
        return AlignTask(llm(architecture=SMALL, lora=lora), preference, FAST)

    given = PreferenceData(str(pairs(corpus)), pairs=3)
    saver = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=3, save_top_k=-1)
    whole = aligned()
    expected = fit(whole, given, 9, callbacks=[saver], enable_checkpointing=True)
    assert expected[0]["train/margin"] == pytest.approx(0, abs=1e-3)  # it is its reference yet
    assert expected[0]["train/loss"] == pytest.approx(0.6931, abs=1e-3)
    assert expected[-1]["train/margin"] > 1
    assert expected[-1]["train/accuracy"] > 0.5
    steps = fit(aligned(), given, 9, ckpt_path=str(tmp_path / "step=3.ckpt"))
    assert steps == expected[3:]
    exported = unified_of_run(tmp_path / "step=9.ckpt").model.state_dict()
    theirs = whole.unified.model.state_dict()
    assert all(torch.equal(exported[name], theirs[name]) for name in theirs)


def test_each_pair_comes_once_in_a_round(corpus: Path) -> None:
    module = AlignTask(llm(architecture=SMALL), optimizer=FAST)
    given = PreferenceData(str(pairs(corpus)), str(pairs(corpus)), pairs=4, seed=1)
    fit(module, given, 3)  # a round
    batches = iter(given.train_dataloader())
    first, second = ([next(batches) for _ in range(3)] for _ in range(2))
    chosen = [
        [b.pack.ids[b.pack.documents == n].tolist() for b in part for n in range(0, 8, 2)]
        for part in (first, second)
    ]
    texts = [[bytes(i for i in ids if i < 256) for ids in part] for part in chosen]
    assert len(set(texts[0])) == len(texts[0]) == 12
    assert sorted(texts[0]) == sorted(texts[1])
    assert texts[0] != texts[1]
    loader = given.val_dataloader()
    assert not isinstance(loader, list)
    assert sum(batch.pairs for batch in loader) == 12


def test_what_cannot_be_trained(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"trainer\.max_steps is -1"):
        trainer(-1).fit(task(), datamodule=data(corpus))
    with pytest.raises(ValueError, match="AlignTask learns from pairs"):
        trainer(1).fit(task(), datamodule=PreferenceData(str(pairs(corpus))))
    aligned = AlignTask(llm(architecture=SMALL), optimizer=FAST)
    with pytest.raises(ValueError, match="this task learns from PreferenceData"):
        trainer(1).fit(aligned, datamodule=data(corpus))
    with pytest.raises(ValueError, match=r"raise shape\.positions"):
        trainer(1).fit(task(), datamodule=data(corpus, shape=PackShape(1, 20)))
    with pytest.raises(ValueError, match="raise positions"):
        trainer(1).fit(aligned, datamodule=PreferenceData(str(pairs(corpus)), positions=20))
    with pytest.raises(RuntimeError, match="fit it first"):
        _ = task().unified
    with pytest.raises(TtsError, match=r"is not there: give a \.ckpt"):
        unified_of_run(tmp_path / "none.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(TtsError, match="holds no unified model"):
        unified_of_run(tmp_path / "other.ckpt")
