"""Shards as a stream: every sample once, in a bounded memory, and gone on with anywhere."""

import itertools
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader

from echoic.audio.data.shard_stream import ShardStream, shards_of
from echoic.audio.data.shards import ShardError, ShardWriter

SIZES = (4, 1, 5, 3, 2, 5)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Six shards of twenty samples in all, k0 to k19."""
    folder = tmp_path_factory.mktemp("shards")
    numbers = iter(range(sum(SIZES)))
    for name, size in enumerate(SIZES):
        with ShardWriter(folder, f"s{name}") as writer:
            for number in itertools.islice(numbers, size):
                writer.write(f"k{number}", {"json": b"{}", "flac": bytes(100 + number)})
    return shards_of(str(folder))


KEYS = [f"k{number}" for number in range(sum(SIZES))]


def keys(stream: ShardStream) -> list[str]:
    return [sample.key for sample in stream]


def test_without_a_shuffle_all_come_in_order(shards: list[str]):
    stream = ShardStream(shards)
    assert keys(stream) == KEYS
    assert keys(stream) == KEYS


def test_a_shuffle_has_every_sample_once_and_follows_the_seed(shards: list[str]):
    order = keys(ShardStream(shards, seed=1, shuffle=6, epochs=2))
    assert sorted(order[:20]) == sorted(order[20:]) == sorted(KEYS)
    assert order[:20] != order[20:]
    assert order == keys(ShardStream(shards, seed=1, shuffle=6, epochs=2))
    assert order[:20] != keys(ShardStream(shards, seed=2, shuffle=6))


@pytest.mark.parametrize(
    "options",
    [{}, {"shuffle": 1}, {"shuffle": 6}, {"shuffle": 100}, {"shuffle": 100, "max_bytes": 300}],
    ids=str,
)
@pytest.mark.parametrize("ranks", [1, 2])
def test_gone_on_with_anywhere_it_is_as_if_it_had_not_stopped(
    options: dict[str, Any], ranks: int, shards: list[str]
):
    def new() -> ShardStream:
        return ShardStream(shards, seed=3, epochs=2, rank=ranks - 1, ranks=ranks, **options)

    stream = new()
    whole: list[str] = []
    states = [json.dumps(stream.state_dict())]
    for sample in stream:
        whole.append(sample.key)
        states.append(json.dumps(stream.state_dict()))
    for position, state in enumerate(states):
        again = new()
        again.load_state_dict(json.loads(state))
        assert keys(again) == whole[position:], position


def test_a_second_stop_is_as_good_as_the_first(shards: list[str]):
    whole = keys(ShardStream(shards, shuffle=5))
    found: list[str] = []
    state = ShardStream(shards, shuffle=5).state_dict()
    for _ in whole:
        stream = ShardStream(shards, shuffle=5)
        stream.load_state_dict(state)
        found.append(next(iter(stream)).key)
        state = stream.state_dict()
    assert found == whole


def test_memory_is_bounded_by_samples_and_by_bytes(shards: list[str]):
    for shuffle, max_bytes, most in [(4, 2**28, 4), (99, 450, 5)]:
        stream = ShardStream(shards, shuffle=shuffle, max_bytes=max_bytes)
        waiting = [len(stream.state_dict()["waiting"]) for _ in stream]
        assert max(waiting) == most - 1


def test_ranks_and_workers_share_the_shards(shards: list[str]):
    found = [keys(ShardStream(shards, shuffle=4, rank=rank, ranks=3)) for rank in range(3)]
    assert sorted(itertools.chain(*found)) == sorted(KEYS)
    assert all(found)

    def loaded(rank: int) -> Sequence[str]:
        stream = ShardStream(shards, shuffle=4, rank=rank, ranks=2)
        return list(DataLoader(stream, batch_size=None, num_workers=2, collate_fn=_key))

    assert sorted([*loaded(0), *loaded(1)]) == sorted(KEYS)


def _key(sample) -> str:
    return sample.key


def test_more_readers_than_shards(shards: list[str]):
    with pytest.raises(ValueError, match="2 shards for 3 processes and workers; make smaller"):
        next(iter(ShardStream(shards[:2], rank=0, ranks=3)))


def test_a_bad_shard_is_an_error_or_left_out(
    shards: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    bad = tmp_path / "bad.tar"
    bad.write_bytes(Path(shards[2]).read_bytes()[:5000])  # two samples and a part of the third
    mixed = [*shards[:2], str(bad), str(tmp_path / "no.tar"), *shards[3:]]
    with pytest.raises(ShardError, match=r"bad\.tar, at k7\.json"):
        keys(ShardStream(mixed))
    with caplog.at_level(logging.WARNING):
        stream = ShardStream(mixed, skip_bad=True)
        states, found = [], []
        for sample in stream:
            found.append(sample.key)
            states.append(stream.state_dict())
    assert found == KEYS[:7] + KEYS[10:]
    assert [r.getMessage().split(":")[0] for r in caplog.records] == ["left out"] * 2
    for position, state in enumerate(states, start=1):
        again = ShardStream(mixed, skip_bad=True)
        again.load_state_dict(state)
        assert keys(again) == found[position:]


def test_states_that_do_not_fit(shards: list[str]):
    state = ShardStream(shards, shuffle=4).state_dict()
    for other in (
        ShardStream(shards, shuffle=5),
        ShardStream(shards, shuffle=4, seed=1),
        ShardStream(shards[1:], shuffle=4),
    ):
        with pytest.raises(ValueError, match="go on with the same"):
            other.load_state_dict(state)
    with pytest.raises(ValueError, match="not a state of a ShardStream"):
        ShardStream(shards).load_state_dict({"epoch": "x"})
    other = ShardStream(shards, shuffle=4, ranks=2)
    other.load_state_dict(state)
    with pytest.raises(ValueError, match="go on with as many processes and workers"):
        next(iter(other))


def test_a_shard_that_was_changed_since(tmp_path: Path):
    def write(count: int) -> list[str]:
        with ShardWriter(tmp_path, "t") as writer:
            for number in range(count):
                writer.write(f"k{number}", {"json": b"{}"})
        return [str(path) for path in writer.shards]

    stream = ShardStream(write(5), shuffle=4)
    next(iter(stream))
    other = ShardStream(write(1), shuffle=4)
    other.load_state_dict(stream.state_dict())
    with pytest.raises(ValueError, match=r"t-000000\.tar has no sample \d any more; start anew"):
        next(iter(other))


@pytest.mark.parametrize(
    "options",
    [{"shuffle": -1}, {"max_bytes": 0}, {"epochs": 0}, {"rank": 1}, {"rank": -1, "ranks": 2}],
    ids=str,
)
def test_numbers_that_cannot_be(options: dict[str, Any]):
    with pytest.raises(ValueError, match="expected"):
        ShardStream(["a.tar"], **options)


def test_names_of_shards(tmp_path: Path):
    for name in ("b-000001.tar", "b-000000.tar", ".b-000002.tar", "c.txt"):
        (tmp_path / name).touch()
    assert shards_of(str(tmp_path)) == [str(tmp_path / f"b-00000{n}.tar") for n in range(2)]
    assert shards_of("s3://x/a-{08..11}.tar") == [
        f"s3://x/a-{n}.tar" for n in ("08", "09", "10", "11")
    ]
    assert shards_of("a.tar") == ["a.tar"]
    with pytest.raises(ValueError, match="runs backwards"):
        shards_of("a-{2..1}.tar")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"has no \.tar files; make some with echoic data shard"):
        shards_of(str(tmp_path / "empty"))
