"""Pairs of answers by what is heard in them: the worst is rejected, if it is bad enough."""

from pathlib import Path

import pytest
import torch
from coded_speech import SETTINGS, write_corpus
from small_unified import settings, shake
from torch import Tensor

from echoic.recipes.prepare import speech_preferences
from echoic.recipes.prepare.speech_preferences import Choice, main, make_pairs
from echoic.tts.lm.guard import Bounds
from echoic.tts.lm.sampling import SamplingConfig
from echoic.tts.training.coded import CodedCorpus
from echoic.tts.unified.build import build
from echoic.tts.unified.files import Unified, save_unified
from echoic.tts.unified.training.example_file import read_examples

ANY = SamplingConfig(1.0, 0, 1.0)
SHORT = Bounds(0.01, 0.02, least=0.3)  # random codes end by chance alone


@pytest.fixture(scope="module")
def made() -> Unified:
    unified = build(settings(), SETTINGS.format, SETTINGS.codec_hash)
    shake(unified)
    unified.model.eval()
    return unified


@pytest.fixture
def corpus(tmp_path: Path) -> CodedCorpus:
    return CodedCorpus(write_corpus(tmp_path / "corpus", 3))


def key(frames: Tensor) -> tuple[int, ...]:
    return tuple(frames.flatten().tolist())


def _more(frames: Tensor) -> int:
    return 1 + int(frames.sum())


def test_the_worst_sample_is_rejected(made: Unified, corpus: CodedCorpus) -> None:
    heard: dict[tuple[int, ...], str] = {}

    def hear(frames: Tensor) -> str:
        """Higher codes are words too many; the recordings are heard right."""
        whose = [i for i in range(3) if torch.equal(corpus.frames(i), frames)]
        text = corpus.lines[whose[0]].text if whose else "text 0" + " more" * _more(frames)
        heard[key(frames)] = text
        return text

    found = list(make_pairs(corpus, made, hear, None, Choice(3, sampling=ANY, bounds=SHORT)))
    assert [one.id for one in found] == ["u0", "u1", "u2"]
    for index, (_, pair) in enumerate(found):
        assert pair is not None
        assert [s.content for s in pair.given] == [corpus.lines[index].text]
        chosen, rejected = (torch.as_tensor(a[0].content) for a in (pair.chosen, pair.rejected))
        assert torch.equal(chosen, corpus.frames(index))
        assert not torch.equal(rejected, chosen)
        assert pair.chosen[0].answer
        assert heard[key(rejected)].count("more") == _more(rejected)
    best = list(make_pairs(corpus, made, hear, None, Choice(3, "best", 0.0, ANY, SHORT)))
    for one, truth in zip(best, found, strict=True):
        assert one.pair is not None
        assert truth.pair is not None
        chosen, rejected = (
            torch.as_tensor(a[0].content) for a in (one.pair.chosen, one.pair.rejected)
        )
        assert _more(chosen) < _more(rejected)
        assert torch.equal(rejected, torch.as_tensor(truth.pair.rejected[0].content))


def test_what_is_spoken_well_makes_no_pair(made: Unified, corpus: CodedCorpus) -> None:
    texts = iter(line.text for line in corpus.lines for _ in range(3))
    found = list(
        make_pairs(
            corpus, made, lambda _: next(texts), None, Choice(2, sampling=ANY, bounds=SHORT), 2
        )
    )
    assert [one.pair for one in found] == [None, None]


def test_the_command(
    made: Unified,
    corpus: CodedCorpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_unified(made, tmp_path / "model")
    out = tmp_path / "pairs.jsonl"
    line = [str(corpus.folder), str(tmp_path / "model"), str(out), "--samples", "1"]
    assert main(line) == 2  # the corpus names no codec
    assert "echoic: " in capsys.readouterr().err
    monkeypatch.setattr(speech_preferences, "load_codec", lambda *_, **__: None)
    monkeypatch.setattr(speech_preferences, "weights_hash", lambda _: SETTINGS.codec_hash)
    monkeypatch.setattr(speech_preferences.Transcriber, "from_pretrained", lambda *_, **__: None)
    truths = {key(corpus.frames(i)): line.text for i, line in enumerate(corpus.lines)}
    monkeypatch.setattr(
        speech_preferences, "hearing", lambda *_: lambda frames: truths.get(key(frames), "no")
    )
    assert main([*line, "--limit", "2"]) == 0
    assert capsys.readouterr().out == f"{out}: 2 pairs of 2 texts\n"
    found = read_examples(out)
    assert len(found.pairs) == 2
    assert found.codes.codec_hash == SETTINGS.codec_hash
    monkeypatch.setattr(speech_preferences, "weights_hash", lambda _: "sha256:other")
    assert main(line) == 2
    assert "the codec is of the codec sha256:other" in capsys.readouterr().err
    assert main([*line[:3], "--chosen", "best", "--samples", "1"]) == 2
    assert "expected 2 or more with chosen 'best'" in capsys.readouterr().err
