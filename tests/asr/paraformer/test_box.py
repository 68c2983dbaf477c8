"""The Paraformer in the box: its size, and real speech through the commands."""

import json
import time

import pytest
import torch
from real_command import DATA, RECORDINGS, Command

from echoic.asr.arithmetic import EXACT_CANDIDATES, able
from echoic.asr.metrics import character_error_rate
from echoic.asr.models import kind_of
from echoic.asr.paraformer.box import box_models
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.text.normalizers import english

NAME = "paraformer-tiny-en"
LARGEST = 15e6
# Of the letters of a reader whom it has never heard, in prose it has never seen: 10 % are wrong. A
# model that has learned nothing has 80 % and more.
MOST_ERRORS = 0.25
MANIFESTS = [DATA / "manifest.jsonl", DATA / "prompts" / "manifest.jsonl"]
ROWS = [json.loads(line) for line in (DATA / "manifest.jsonl").read_text().splitlines()]


@pytest.fixture
def real(command: Command) -> Command:
    command.really_load()
    return command


def test_it_is_what_its_name_says():
    (box,) = [model for model in box_models() if model.name == NAME]
    assert box.num_bytes < LARGEST
    assert box.description
    assert (box.folder / "README.md").is_file()
    assert kind_of(NAME) == "paraformer"
    model = Paraformer.from_pretrained(NAME)
    assert 12e6 < sum(p.numel() for p in model.parameters()) < 13e6
    assert model.config.language == "en"
    assert model.config.chunks is not None


def test_real_speech(real: Command):
    words = ("-m", NAME, "--json", "--word-timestamps", "-q")
    result = real.type(DATA / "manifest.jsonl", *words)
    assert result.exit_code == 0, result.stderr
    found = {row["id"]: row for row in map(json.loads, result.stdout.splitlines())}
    normal = english()
    said = [normal(row["text"]) for row in ROWS]
    heard = [normal(found[row["id"]]["text"]) for row in ROWS]
    assert character_error_rate(said, heard).rate < MOST_ERRORS
    for row in ROWS:
        words = [word for s in found[row["id"]]["segments"] for word in s["words"]]
        times = [time for word in words for time in (word["start"], word["end"])]
        assert times == sorted(times)
        assert 0 <= times[0] < times[-1] <= row["duration"] + 0.1
        assert len(words) == pytest.approx(len(row["text"].split()), rel=0.5)


def test_the_fastest_arithmetic_leaves_its_text(real: Command):
    """Its weights are bytes: what `auto` takes here, and what it takes on other processors."""
    texts = {}
    for kind in ("float32", "auto", *able(EXACT_CANDIDATES)[1:]):
        words = ("-m", NAME, "--json", "-q", "--dtype", kind)
        result = real.type(*MANIFESTS, *words)
        assert result.exit_code == 0, result.stderr
        texts[kind] = [json.loads(line)["text"] for line in result.stdout.splitlines()]
    assert len(texts["float32"]) == 50
    for kind, said in texts.items():
        assert said == texts["float32"], kind


def test_live_it_writes_much_the_same(real: Command):
    plain = ("-m", NAME, "-q", "--dtype", "float32")
    whole = real.type(RECORDINGS[0], *plain).stdout
    live = real.type(RECORDINGS[0], *plain, "--streaming").stdout
    assert live.strip()
    assert character_error_rate([whole], [live]).rate < MOST_ERRORS


def test_it_is_quick():
    """Far below what the card says, since other tests may run beside this."""
    model = Paraformer.from_pretrained(NAME)
    wav = torch.randn(1, 160_000, generator=torch.Generator().manual_seed(0)) / 100
    model.recognize(wav)
    start = time.process_time()
    model.recognize(wav)
    assert time.process_time() - start < 5.0
