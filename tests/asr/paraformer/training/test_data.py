"""Utterances and batches, and what is wrong with a manifest."""

import json
import logging
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from jsonargparse import ArgumentParser
from paraformer_runs import data, short_ones, write_manifest, write_vocabulary, written
from torch.utils.data import DataLoader

from echoic.asr.paraformer.tokenizer import Tokenizer
from echoic.asr.paraformer.training.corpus import Limits, Utterance, read_utterances
from echoic.asr.paraformer.training.data import Batch
from echoic.asr.paraformer.training.datamodule import ParaformerData
from echoic.asr.paraformer.training.plan import BatchConfig
from echoic.audio.data.bucket_plan import BucketConfig
from echoic.audio.data.buckets import Buckets
from echoic.audio.data.manifest import Source


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_manifest(tmp_path)


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    return write_vocabulary(tmp_path / "vocabulary")


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def loader_of(found: object) -> DataLoader[Batch]:
    assert isinstance(found, DataLoader)
    return found


def same(one: Batch, other: Batch) -> bool:
    return (
        one.texts == other.texts
        and torch.equal(one.wav, other.wav)
        and torch.equal(one.labels, other.labels)
    )


def test_a_batch_is_what_was_said(manifest: Path, vocabulary: Path) -> None:
    tokenizer = Tokenizer.from_folder(vocabulary)
    by_text = {written(u): u.wav for u in short_ones()}
    (batch,) = loader_of(data(manifest, vocabulary).val_dataloader())
    assert len(batch.texts) == 1
    for row, text in enumerate(batch.texts):
        ids = batch.labels[row, : batch.label_lengths[row]].tolist()
        assert tokenizer.decode(ids) == text
        wav = batch.wav[row, : batch.samples[row]]
        expected = by_text[text][: len(wav)]  # the manifest's duration is in milliseconds
        assert torch.allclose(wav, expected, atol=1e-4)
        assert not batch.wav[row, batch.samples[row] :].any()


@pytest.mark.parametrize("cache", [True, False])
def test_batches_are_the_same_again_in_workers_and_after_a_restart(
    manifest: Path, vocabulary: Path, cache: bool
) -> None:
    def row(count: int, **changes) -> list[Batch]:
        batches = iter(
            loader_of(data(manifest, vocabulary, cache=cache, **changes).train_dataloader())
        )
        return [next(batches) for _ in range(count)]  # fmt: skip

    first = row(5)
    assert [batch.number for batch in first] == list(range(5))
    assert all(map(same, first, row(5, num_workers=2)))
    assert not all(map(same, first, row(5, seed=1)))
    plain = row(5, augment=None)
    assert [b.texts for b in plain] == [b.texts for b in first]
    assert not any(map(same, first, plain))


def test_every_process_validates(manifest: Path, vocabulary: Path) -> None:
    source = data(manifest, vocabulary, validation=[Source(str(manifest), split="train")])

    def heard(processes: int) -> list[list[str]]:
        texts = []
        for rank in range(processes):
            source.trainer = Mock(world_size=processes, global_rank=rank)
            texts.append([t for b in loader_of(source.val_dataloader()) for t in b.texts])
        return texts

    whole = sorted(heard(1)[0])
    for processes in (2, 5):  # there are two batches, for want of more sound
        found = heard(processes)
        assert all(found)
        assert sorted(text for own in found for text in own) == whole
    with pytest.raises(ValueError, match="5 utterances of validation for 6 processes"):
        heard(6)


def test_moves(manifest: Path, vocabulary: Path) -> None:
    batch = next(iter(loader_of(data(manifest, vocabulary).train_dataloader())))
    moved = batch.to("meta")
    assert {moved.wav.device.type, moved.labels.device.type, moved.samples.device.type} == {"meta"}
    assert moved.texts == batch.texts


def test_damaged_recordings_are_left_out(
    tmp_path: Path, vocabulary: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said = short_ones(2)
    (tmp_path / "damaged.wav").write_bytes(b"no sound")
    rows = [
        {"audio": str(said[0].path), "text": said[0].text},
        {"audio": "damaged.wav", "text": said[1].text, "duration": 2.0},
        {"audio": str(said[1].path), "text": said[1].text},
    ]
    path = lines(tmp_path / "rows.jsonl", *rows)
    for cache in (True, False):
        size = BatchConfig(seconds=9.0)
        source = data(path, vocabulary, cache=cache, validation=None, batches=size)
        batch = next(iter(loader_of(source.train_dataloader())))
        assert sorted(batch.texts) == sorted(map(written, said))
    assert "damaged.wav" in caplog.text
    rows = lines(tmp_path / "rows.jsonl", rows[1])
    source = data(rows, vocabulary, cache=False, validation=None)
    with pytest.raises(ValueError, match="batch 0 has damaged recordings only"):
        next(iter(loader_of(source.train_dataloader())))
    with pytest.raises(ValueError, match="none of 1 recordings could be read"):
        data(rows, vocabulary, validation=None).check()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "has no utterances with a text"),
        ([{"audio": "a.wav"}], "line 1: expected what is said in `text`"),
        ([{"audio": "a.wav", "text": 3}], "line 1: expected what is said in `text`"),
        ([{"audio": "a.wav", "text": "..."}], "1 texts have no words"),
        ([{"text": "hello"}], "line 1: no 'audio' .* name the recording's path"),
        ([{"audio": "a.wav", "text": "hello"}], "1 recordings of .* are not there, the first is"),
        ([{"audio": "MANIFEST", "text": "\u4f60\u597d"}], "none of the 1 texts of .* can be"),
        ([{"audio": "MANIFEST", "text": "TEXT", "duration": 99}], "lasts 0.2 to 20.0 s"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_manifest_is_said(
    rows: list[dict], message: str, tmp_path: Path, vocabulary: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    names = {"MANIFEST": str(path), "TEXT": short_ones(1)[0].text}
    text = "".join(json.dumps(row) + "\n" for row in rows)
    for name, meant in names.items():
        text = text.replace(name, meant)
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        data(path, vocabulary, validation=None).check()


def test_conditions_and_files_that_are_not_there(manifest: Path, vocabulary: Path) -> None:
    assert len(read_utterances(Source(str(manifest), split="train", lang="en"), "words")) == 5
    with pytest.raises(ValueError, match="no utterances of split 'train' of lang 'ru' with a text"):
        read_utterances(Source(str(manifest), split="train", lang="ru"), "words")
    with pytest.raises(OSError, match=r"gone\.jsonl"):
        data(Path("gone.jsonl"), vocabulary).check()
    with pytest.raises(ValueError, match="train is empty"):
        data(manifest, vocabulary, train=[])
    with pytest.raises(ValueError, match="limits are 3 to 2 s"):
        Limits(3, 2)


def test_texts_that_cannot_be_aligned_or_written_are_counted(
    tmp_path: Path, vocabulary: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said = short_ones(1)[0]
    rows = [
        {"audio": str(said.path), "text": text}
        for text in (said.text, 9 * f"{said.text} ", "\u4f60")
    ]
    path = lines(tmp_path / "rows.jsonl", *rows)
    with caplog.at_level(logging.WARNING):
        source = data(path, vocabulary, validation=None, augment=None)
        batch = next(iter(loader_of(source.train_dataloader())))
    assert len(batch.texts) == 1
    assert "2 of 3 utterances left out: 1 cannot be written in the vocabulary, 1 are" in caplog.text


def test_an_utterance_is_a_recording() -> None:
    assert Utterance(Path("a.wav"), 1.0, text="a").path == Path("a.wav")


def test_batches_out_of_buckets(manifest: Path, vocabulary: Path, tmp_path: Path) -> None:
    changes = {"buckets": BucketConfig(2, 2), "validation": None, "augment": None}
    source = data(manifest, vocabulary, **changes)
    batches = iter(loader_of(source.train_dataloader()))
    row = [next(batches) for _ in range(6)]
    # Decoded, digits stand without blanks.
    said = sorted(written(u).replace(" ", "") for u in short_ones())
    met: list[str] = []
    while len(met) < len(said):
        batch = row.pop(0)
        assert batch.wav.shape[0] == 1 or batch.wav.numel() <= 5.0 * 16_000
        met += [text.replace(" ", "") for text in batch.texts]
    assert sorted(met) == said, "a pass has every utterance once"
    saved = Buckets(((20.0, 200),), (4,))
    saved.save(tmp_path / "saved.json")
    by_file = BucketConfig(saved=str(tmp_path / "saved.json"))
    source = data(manifest, vocabulary, **(changes | {"buckets": by_file}))
    batches = iter(loader_of(source.train_dataloader()))
    assert sorted(len(next(batches).texts) for _ in range(2)) == [2, 4]


@pytest.mark.filterwarnings("ignore:.*instantiate_classes:DeprecationWarning")
def test_buckets_in_a_recipe(manifest: Path, vocabulary: Path) -> None:
    parser = ArgumentParser()
    parser.add_class_arguments(ParaformerData, "data")
    words = [f"--data.vocabulary={vocabulary}", f'--data.train=[{{"path": "{manifest}"}}]']

    def parsed(*more: str) -> ParaformerData:
        return parser.instantiate_classes(parser.parse_args([*words, *more]))["data"]

    assert parsed().buckets is None
    assert parsed("--data.buckets.duration=7").buckets == BucketConfig(7)
    named = parsed('--data.buckets={"saved": "sizes.json"}')
    assert named.buckets == BucketConfig(saved="sizes.json")
    inline = parsed(
        '--data.buckets={"saved": {"edges": [[2.5, 9], [4, 7]], "batch_sizes": [4, 2]}}'
    )
    assert inline.buckets == BucketConfig(saved=Buckets(((2.5, 9), (4.0, 7)), (4, 2)))


def test_stretches_of_one_recording_are_utterances(tmp_path: Path) -> None:
    rows = [{"audio": "a.wav", "text": "yes", "offset": i, "duration": 0.5} for i in (0, 3)]
    found = read_utterances(Source(str(lines(tmp_path / "rows.jsonl", *rows))), "words")
    assert [(u.offset, u.duration) for u in found] == [(0.0, 0.5), (3.0, 0.5)]
    assert len(set(found)) == 2
