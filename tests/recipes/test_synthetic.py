import json
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from echoic.audio.io import Audio, load
from echoic.recipes.prepare import voices
from echoic.recipes.prepare.sentences import plain, sentences
from echoic.recipes.prepare.synthetic import Plan, main, make, read_manifest, read_texts
from echoic.recipes.prepare.voices import Voice, VoiceError

PROSE = """
                     CHAPTER I

"TOM!" No answer came. "What's GONE with that boy, I wonder?" said Mr. Brown--and
he said it twice; Tom heard it.

Tom was there in 1876 already. THE next morning came. Tom liked [most] mornings.
The next morning came! The old lady pulled her spectacles down and looked over them about the
room, and then she put them up and looked out under them; she seldom or never looked through
them for so small a thing as a boy.
"""


@dataclass
class FakeEngine:
    """Says a tone, a third of a second for a word, and can be told to fail."""

    broken: set[str] = field(default_factory=set)
    said: list[tuple[str, str, float]] = field(default_factory=list)

    def check(self, name: str) -> None:
        if name == "missing":
            raise VoiceError("the program fake is missing; apt install fake")

    def speak(self, name: str, text: str, speed: float, seed: int) -> Audio:
        del seed
        self.said.append((name, text, speed))
        if text in self.broken:
            raise VoiceError(f"cannot say {text!r}")
        length = round(len(text.split()) / 3 / speed * 24_000)
        return Audio(0.2 * torch.sin(0.1 * torch.arange(length))[None], 24_000)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    fake = FakeEngine()
    known = {"fake": voices._Engine(fake.check, fake.speak)}
    monkeypatch.setattr(voices, "_ENGINES", known)
    return fake


def some_texts(count: int = 60) -> list[tuple[str, str]]:
    return [(f"A {'very ' * (n % 9)}long sentence{'s' * n}.", "book.txt") for n in range(count)]


def plan(hours: float = 0.01, **others: float) -> Plan:
    wanted = {Voice("fake", "a"): hours} | {Voice("fake", n): h for n, h in others.items()}
    return Plan(hours=wanted)


def test_sentences_are_spelled_like_transcripts() -> None:
    assert list(sentences(PROSE)) == [
        "No answer came.",
        "What's gone with that boy, I wonder? said Mr. Brown, and he said it twice; Tom heard it.",
        "The next morning came.",
        "The next morning came!",
        "The old lady pulled her spectacles down and looked over them about the room, "
        "and then she put them up and looked out under them.",
        "She seldom or never looked through them for so small a thing as a boy.",
    ]


def test_lengths_of_sentences() -> None:
    text = "One two. One two three. " + "And so on " * 9 + "it goes."
    assert list(sentences(text)) == ["One two three."]
    assert list(sentences(text, shortest=2, longest=3)) == ["One two.", "One two three."]


def test_excluded_and_repeated_texts_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(PROSE, encoding="utf-8")
    (tmp_path / "held.txt").write_text("no answer, came\nother\n", encoding="utf-8")
    found = read_texts([tmp_path / "book.txt"], [tmp_path / "held.txt"])
    plains = [plain(text) for text, _ in found]
    assert "no answer came" not in plains
    assert plains.count("the next morning came") == 1
    assert {source for _, source in found} == {"book.txt"}


def test_a_manifest_with_sound_at_16_kilohertz(tmp_path: Path, engine: FakeEngine) -> None:
    lines = list(make(tmp_path, some_texts(), plan()))
    assert lines == list(read_manifest(tmp_path / "manifest.jsonl"))
    assert sum(line.duration for line in lines) >= 36
    assert len({line.text for line in lines}) == len(lines)
    for line in lines:
        wav, rate = load(tmp_path / line.audio)
        assert (rate, wav.shape[0]) == (16_000, 1)
        assert wav.shape[1] / rate == pytest.approx(line.duration, abs=0.0006)
        assert float(wav.abs().max()) == pytest.approx(0.8, abs=0.01)
        assert (line.speaker, line.source, line.lang) == ("fake:a", "book.txt", "en")
        expected = len(line.text.split()) / 3 / line.speed
        assert line.duration == pytest.approx(expected, rel=0.01)
    assert len({line.speed for line in lines}) > 3
    assert len({line.pitch for line in lines}) > 3
    assert len(engine.said) == len(lines)


def test_pitch_moves_the_tone(tmp_path: Path, engine: FakeEngine) -> None:
    for line in make(tmp_path, some_texts(12)[4:], plan(0.003)):
        wav = load(tmp_path / line.audio).wav[0]
        peak = int(torch.fft.rfft(wav).abs().argmax()) * 16_000 / len(wav)
        assert peak == pytest.approx(0.1 * 24_000 / 6.2832 * line.pitch, rel=0.01)
    assert engine.said


def test_voices_share_by_their_hours(tmp_path: Path, engine: FakeEngine) -> None:
    lines = list(make(tmp_path, some_texts(80), plan(0.03, b=0.01)))
    seconds = {v: sum(x.duration for x in lines if x.speaker == v) for v in ("fake:a", "fake:b")}
    assert 1.8 < seconds["fake:a"] / seconds["fake:b"] < 4.5
    assert {x.speaker for x in lines[:4]} == {"fake:a", "fake:b"}, "mixed from the start"
    assert len(engine.said) == len(lines)


def test_it_goes_on_where_it_was_stopped(tmp_path: Path, engine: FakeEngine) -> None:
    at_once = list(make(tmp_path / "whole", some_texts(), plan()))
    going = make(tmp_path / "parts", some_texts(), plan())
    first = [next(going) for _ in range(3)]
    going.close()
    with (tmp_path / "parts" / "manifest.jsonl").open("a") as file:
        file.write('{"audio": "cut off in the mid')
    engine.said.clear()
    rest = list(make(tmp_path / "parts", some_texts(), plan()))
    assert not {x.text for x in first} & {text for _, text, _ in engine.said}
    assert first + rest == at_once
    assert list(read_manifest(tmp_path / "parts" / "manifest.jsonl")) == first + rest
    assert list(make(tmp_path / "parts", some_texts(), plan())) == []


def test_a_sentence_that_fails_is_passed_over(tmp_path: Path, engine: FakeEngine) -> None:
    engine.broken = {text for text, _ in some_texts()[:5]}
    lines = list(make(tmp_path, some_texts(20), plan(1)))
    assert len(lines) == 15


def test_a_voice_that_always_fails_stops_it(tmp_path: Path, engine: FakeEngine) -> None:
    engine.broken = {text for text, _ in some_texts()}
    with pytest.raises(VoiceError, match="20 sentences failed, the last so: cannot say"):
        list(make(tmp_path, some_texts(), plan()))


def test_a_foreign_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text(json.dumps({"audio": "x.wav"}) + "\n")
    with pytest.raises(ValueError, match="line 1 is not a line of this recipe"):
        list(read_manifest(tmp_path / "manifest.jsonl"))


def test_plans_and_voices_are_checked() -> None:
    with pytest.raises(ValueError, match="more than 0 hours"):
        Plan(hours={})
    with pytest.raises(ValueError, match="spread_speed is 3"):
        Plan(hours={Voice("flite", "slt"): 1}, spread_speed=3)
    with pytest.raises(ValueError, match="engine is 'siri'"):
        Voice.parse("siri:a")
    with pytest.raises(ValueError, match="voice is ''"):
        Voice.parse("flite")


def test_command_line(
    tmp_path: Path, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "book.txt").write_text(PROSE, encoding="utf-8")
    common = [str(tmp_path / "out"), "--text", str(tmp_path / "book.txt")]
    assert main([*common, "--voice", "fake:a=0.001"]) == 0
    assert "out: 0.00 hours" in capsys.readouterr().out
    assert main([*common, "--voice", "fake:missing"]) == 1
    told = capsys.readouterr().err
    assert told == "synthetic: the program fake is missing; apt install fake\n"
    assert main([*common, "--voice", "fake:a=1"]) == 0
    assert "the sentences last for" in capsys.readouterr().err
    assert engine.said


@pytest.mark.parametrize("engine_name", ["flite", "festival", "espeak", "hibari"])
def test_a_missing_program_is_named(engine_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "hibari", None)  # makes its import fail
    voices._hibari.cache_clear()
    with pytest.raises(VoiceError, match=r"(apt|pip) install"):
        Voice(engine_name, "slt").check()


@pytest.mark.parametrize(
    ("program", "voice"),
    [
        ("flite", "flite:slt"),
        ("festival", "festival:kal_diphone"),
        ("espeak-ng", "espeak:en-us+f3"),
    ],
)
def test_real_voices_speak_where_they_are_installed(program: str, voice: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    speaker = Voice.parse(voice)
    try:
        speaker.check()
    except VoiceError as e:
        pytest.skip(str(e))
    text = "It's only a test, don't you see, and an easy one; it won't be long."
    slow, fast = speaker.speak(text, speed=0.8), speaker.speak(text, speed=1.25)
    assert fast.wav.shape[0] == 1
    seconds = fast.wav.shape[1] / fast.sample_rate
    assert 1 < seconds < 6
    assert slow.wav.shape[1] / slow.sample_rate > 1.2 * seconds


def test_unknown_voices_are_told() -> None:
    if shutil.which("flite") is None:
        pytest.skip("flite is not installed")
    with pytest.raises(VoiceError, match="flite has no voice 'nobody', only"):
        Voice("flite", "nobody").check()
