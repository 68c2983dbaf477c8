"""What buckets are worth in steps of training, and what reading the sound costs a processor."""

import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks import loaders
from benchmarks.clock import threads
from benchmarks.data_ways import make_batch, trainer, ways, write_vocabulary
from benchmarks.measure import Say, align, machine
from benchmarks.pairs import take_turns
from benchmarks.settings import Settings
from lengths import Lengths, of_all_kinds, read_aloud

pytestmark = [
    pytest.mark.timeout(0),  # none
    pytest.mark.filterwarnings("ignore:You are trying to `self.log"),
]

COUNT = 20_000
STEPS = 2  # of each way, for each run that is asked for
FILES = 96
LENGTHS = {"like LibriSpeech": read_aloud, "mixed lengths": of_all_kinds}


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vocabulary(tmp_path_factory.mktemp("data") / "vocabulary")


@pytest.fixture
def one_thread() -> Iterator[None]:
    with threads(1):
        yield


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("kind", LENGTHS)
def test_utterances_a_second(kind: str, vocabulary: Path, settings: Settings, say: Say) -> None:
    """Real steps of the tiny Paraformer: how many utterances a second each way gets through."""
    lengths, steps = LENGTHS[kind](COUNT), STEPS * settings.runs
    found = ways(lengths, settings.batch_seconds)
    step = trainer(vocabulary)
    for way in found:  # warms up
        assert 0 < step(make_batch(way, 0, lengths)) < float("inf")

    made = [iter([make_batch(way, i, lengths) for i in range(1, steps + 1)]) for way in found]
    turns = take_turns([lambda own=own: step(next(own)) for own in made], steps)
    # A pass tells how many utterances a step has, better than the few steps that were timed.
    rates = [
        way.utterances / statistics.mean(own.seconds) for way, own in zip(found, turns, strict=True)
    ]
    lines = [
        ["batches", "utterances a step", "most padded s", "padding of sound, text",
         "utterances a CPU s", "echoic has"]
    ]  # fmt: skip
    for way, rate in zip(found, rates, strict=True):
        most = way.padded(lengths[0]).max()
        assert most <= settings.batch_seconds + 1e-6, f"{way.name} has more memory"
        sound, text = way.padding(lengths)
        lines.append(
            [way.name, f"{way.utterances:.1f}", f"{most:.0f}", f"{sound:.1%}, {text:.1%}",
             f"{rate:.2f}", f"{rates[0] / rate:.2f} x"]
        )  # fmt: skip
    say(
        f"## steps of training, {kind}\n{COUNT} utterances, at most "
        f"{settings.batch_seconds:g} s a batch, {steps} steps of each way in turns, one thread\n"
        f"{machine(['torch'])}\n{align(lines)}"
    )


@pytest.mark.usefixtures("one_thread")
def test_loader(vocabulary: Path, settings: Settings, say: Say, tmp_path: Path) -> None:
    """Hours of sound that a core reads in a second; all read every recording once."""
    lengths: Lengths = read_aloud(FILES)
    corpus = loaders.write_corpus(tmp_path / "sound", lengths)
    seconds = settings.batch_seconds
    systems = [
        loaders.echoic(corpus, vocabulary, seconds, cache=False),
        loaders.echoic(corpus, vocabulary, seconds, cache=True),
        loaders.plain(corpus),
    ]
    theirs = loaders.lhotse(corpus, seconds)
    if theirs is None:
        say("lhotse: not measured, lhotse is not installed")
    else:
        systems.append(theirs)
    for system in systems:  # warms up, and fills the memory of those that have one
        met = system.read()
        assert met == pytest.approx(corpus.seconds, rel=1e-3), f"{system.name} left sound out"
    turns = take_turns([system.read for system in systems], settings.runs)
    lines = [["loader", "hours a CPU second", "time / echoic", "min-max"]]
    for system, own in zip(systems, turns, strict=True):
        hours = corpus.seconds / 3600 / own.median
        lines.append([system.name, f"{hours:.3f}", *own.over(turns[0])])
    say(
        f"## loaders, {FILES} FLAC files, {corpus.seconds:.0f} s, one process and thread each\n"
        f"{machine(['torch', 'soundfile', 'lhotse'])}\n{align(lines)}"
    )
