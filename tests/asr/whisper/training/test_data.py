"""Batches: the same by number, each once among workers and processes, resumed where it stopped."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from clicking_corpus import RATE, clicking_corpus, write_corpus
from torch.utils.data import DataLoader
from whisper_factory import SMALL, write_folder

from echoic.asr.whisper.training.data import Batch, BatchConfig, BatchMaker
from echoic.asr.whisper.training.datamodule import (
    INITIAL_MAX,
    CausalWhisperData,
    Changed,
    Corpus,
    Shares,
)
from echoic.asr.whisper.training.plan import IGNORED, Planner
from echoic.asr.whisper.training.schedule import Timing
from echoic.asr.whisper.training.windows import WindowConfig, WindowMaker
from echoic.audio.data.numbered import NumberedBatches
from echoic.audio.features import LogMel

PROMPT, END = (50257, 50362), 50256
SMALL_BATCH = BatchConfig(
    seconds=6.0, lengths=(2.0, 3.0), block_sizes=(5, 16), block_weights=(1, 1), longest_first=30
)


@pytest.fixture
def maker(tmp_path: Path) -> BatchMaker:
    windows = WindowMaker(clicking_corpus(tmp_path), tmp_path, WindowConfig())
    planner = Planner(PROMPT, END)
    return BatchMaker([windows], [1.0], planner, Timing(), SMALL_BATCH, seed=3)


def same(a: Batch, b: Batch) -> bool:
    plans = [(getattr(a.plan, n), getattr(b.plan, n)) for n in a.plan.__slots__]
    tensors = [(a.mel, b.mel), (a.teacher_ids, b.teacher_ids), *plans]
    return a.blocks == b.blocks and all(torch.equal(x, y) for x, y in tensors)


def test_a_batch_depends_on_its_number_and_the_seed_alone(maker: BatchMaker) -> None:
    for number in (0, 1, 7):
        assert same(maker(number), maker(number))
    assert not same(maker(0), maker(1))
    assert not same(maker(0), replace(maker, seed=4)(0))


def test_what_a_batch_holds(maker: BatchMaker) -> None:
    kinds = set()
    for number in range(12):
        batch = maker(number)
        windows, frames = batch.mel.shape[:2]
        assert batch.mel.shape[2] == 80
        assert (windows, frames) in {(3, 200), (2, 300)}
        assert batch.seconds == 6.0
        assert batch.plan.tokens.shape[0] == windows
        assert batch.blocks.size in (5, 16)
        assert batch.blocks.size <= batch.blocks.first_size <= 30
        assert int(batch.plan.limits.max()) <= frames // 2
        ends = set(batch.blocks.ends(frames // 2))
        assert set(batch.plan.limits[batch.plan.targets == END].tolist()) <= ends
        kinds.add((batch.blocks.size, frames))
        moved = batch.to("cpu")
        assert same(moved, batch)
    assert len(kinds) == 4


def test_the_teacher_knows_the_tokens_that_are_asked(maker: BatchMaker) -> None:
    """In the clicking corpus the first of the teacher's words is the token itself."""
    for number in range(4):
        batch = maker(number)
        for row in range(len(batch.plan.targets)):
            labels, targets = batch.plan.labels[row], batch.plan.targets[row]
            text = labels >= 0
            assert torch.equal(batch.teacher_ids[row, labels[text], 0], targets[text])
            assert set(targets[~text].tolist()) <= {END, IGNORED}


def test_the_features_are_those_of_a_stream(maker: BatchMaker) -> None:
    """The maximum of a frame is that of the sound up to it, from where a stream begins."""
    features = LogMel(80, "running", initial_max=INITIAL_MAX)
    wav = maker.windows[0](2.0, 5).wav
    state = features.initial_state(1)
    parts = []
    for piece in wav[None].split(1000, dim=1):
        state, mel = features.step(state, piece)
        parts.append(mel)
    streamed = torch.cat([*parts, features.finish(state)[1]], dim=1)
    whole = maker.log_mel(wav[None])
    torch.testing.assert_close(whole, streamed, rtol=0, atol=1e-4)


def test_targets_are_those_of_the_schedule(tmp_path: Path) -> None:
    """Counted anew from a window's tokens: how many texts there are at each asked moment."""
    windows = WindowMaker(clicking_corpus(tmp_path), tmp_path, WindowConfig(empty=0.0))
    plain = replace(SMALL_BATCH, lengths=(3.0,), seconds=3.0, moments_per_second=100.0)
    prefix = Planner(PROMPT, END, "prefix")
    batch = BatchMaker([windows], [1.0], prefix, Timing(), plain, seed=1)(2)
    ends = batch.blocks.ends(150)
    waits = batch.plan.targets[0] == END
    assert batch.plan.limits[0][waits].tolist() == ends
    said = (batch.plan.positions[0][waits] - 1).tolist()
    assert said == sorted(said)
    tokens = int((batch.teacher_probs[0].sum(-1) > 0).sum())
    assert 0 < said[-1] <= tokens


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_workers_make_every_batch_once_and_in_order(workers: int) -> None:
    loader = DataLoader(NumberedBatches(str, stop=7), batch_size=None, num_workers=workers)
    assert list(loader) == list("0123456")


@pytest.mark.parametrize("workers", [0, 2])
def test_processes_share_a_run_and_a_resumed_one_goes_on(workers: int) -> None:
    made: list[str] = []
    for rank in range(3):
        stream = NumberedBatches(str, start=2, processes=3, rank=rank, stop=6)
        made += list(DataLoader(stream, batch_size=None, num_workers=workers))
    assert sorted(map(int, made)) == list(range(6, 18))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"block_sizes": (5, 6)}, "2 block_sizes and 6 block_weights"),
        ({"block_sizes": (), "block_weights": ()}, "0 block_sizes"),
        ({"lengths": ()}, "0 to 30 seconds each"),
        ({"lengths": (31.0,)}, "0 to 30 seconds each"),
        ({"lengths": (0.0, 5.0)}, "0 to 30 seconds each"),
    ],
)
def test_shapes_that_cannot_be_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BatchConfig(**fields)


@pytest.fixture
def data(tmp_path: Path) -> Callable[..., CausalWhisperData]:
    path = write_corpus(tmp_path / "aligned.jsonl", clicking_corpus(tmp_path))

    def make(**options) -> CausalWhisperData:
        corpus = [Corpus(str(path))]
        options = {"train": corpus, "validation": corpus, "batches": SMALL_BATCH, **options}
        return CausalWhisperData(**options, num_workers=0)

    return make


def test_the_data_module_gives_training_and_the_same_few_validation_batches(data) -> None:
    module = data(validation_batches=3)
    module.check()
    stream = iter(module.train_dataloader())
    first, second = next(stream), next(stream)
    assert not same(first, second)
    found = [list(module.val_dataloader()) for _ in range(2)]
    assert [len(batches) for batches in found] == [3, 3]
    assert all(same(a, b) for a, b in zip(*found, strict=True))
    assert not same(found[0][0], first)
    assert data(validation=[]).val_dataloader() == []


def test_what_a_stream_must_know_of_the_training(data) -> None:
    doubled = replace(SMALL_BATCH, block_sizes=(16, 5, 16), block_weights=(1, 1, 1))
    module = data(batches=doubled, timing=Timing(0.2, 0.7))
    assert module.streaming_settings() == {
        "block_frames": [5, 16],
        "left_context_frames": None,
        "initial_max": 0.0,
        "delay_seconds": 0.2,
        "hold_seconds": 0.7,
    }


def test_the_prompt_is_that_of_the_stream(tmp_path: Path) -> None:
    many = write_folder(tmp_path / "many", config=replace(SMALL, vocab_size=51_865))
    for language, length in ((None, 4), ("de", 4)):
        module = CausalWhisperData([], base=str(many), language=language)
        assert len(module.planner.prompt) == length
    assert len(CausalWhisperData([], language="en").planner.prompt) == 2


def test_what_is_wrong_with_a_corpus_shows_at_once(data, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        data(train=[Corpus("nowhere.jsonl")]).check()
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    with pytest.raises(ValueError, match=r"empty\.jsonl holds no utterances"):
        data(validation=[Corpus(str(empty))]).check()
    (tmp_path / "u1.wav").unlink()
    with pytest.raises(ValueError, match=r"1 recordings of .* not there, .*u1\.wav"):
        data().check()


def test_augmentation_keeps_the_length_and_goes_by_the_seed() -> None:
    change = Changed(Shares(1.0, 1.0, 1.0, 0.5, 0.5, 0.5).augment())
    wav = 0.1 * torch.randn(3 * RATE, generator=torch.Generator().manual_seed(0))
    once, again, other = change(wav, 5), change(wav, 5), change(wav, 6)
    assert once.shape == other.shape == wav.shape
    assert torch.equal(once, again)
    assert not torch.allclose(once, other, atol=1e-3)
    assert torch.equal(Changed(Shares(0, 0, 0, 0, 0, 0).augment())(wav, 5), wav)
