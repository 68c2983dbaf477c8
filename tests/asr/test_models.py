"""Which kind of model a name means."""

import json
from pathlib import Path

import pytest
import torch
from small_paraformer import paraformer
from speech_data import tiny_en

from echoic.asr import models
from echoic.asr.errors import CheckpointError
from echoic.asr.models import kind_of, load_model, open_reader
from echoic.asr.options import TranscribeOptions
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.reader import ParaformerReader
from echoic.asr.whisper.model import WhisperModel
from echoic.asr.whisper.reader import WhisperReader

CPU = torch.device("cpu")


def test_names_in_the_box_and_of_openai():
    assert kind_of("tiny.en") == "whisper"
    assert kind_of("large-v3") == "whisper"
    assert kind_of("openai/whisper-small") == "whisper"
    for model in models.paraformers():
        assert kind_of(model.name) == "paraformer"


def test_folders_tell_by_their_config(tmp_path: Path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model_type": "paraformer"}))
    assert kind_of(tmp_path) == kind_of(str(tmp_path)) == "paraformer"
    for other in ('{"model_type": "whisper"}', "[]", "no json"):
        config.write_text(other)
        assert kind_of(tmp_path) == "whisper"


def test_a_folder_of_funasr_is_told_how_to_become_ours(tmp_path: Path):
    (tmp_path / "config.yaml").write_text("model: Paraformer\n")
    (tmp_path / "model.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match="echoic import paraformer"):
        load_model(tmp_path, device=CPU)


def test_an_id_is_asked_for_its_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "paraformer"}))
    asked: list[tuple[str, list[str]]] = []

    def download(name: str, revision: object, wanted: list[str], choices: str) -> Path:
        asked.append((name, wanted))
        if name == "some/gone":
            raise CheckpointError("no network")
        return tmp_path

    monkeypatch.setattr(models, "download", download)
    assert kind_of("some/speech") == "paraformer"
    assert kind_of("some/gone") == "whisper"
    assert asked == [("some/speech", ["config.json"]), ("some/gone", ["config.json"])]


@pytest.mark.parametrize("name", ["./some/speech", "/some/speech", "~/some/speech", "a/b/c"])
def test_paths_are_never_fetched(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(models, "download", lambda *_: pytest.fail("fetched"))
    assert kind_of(name) == "whisper"
    assert kind_of(Path("some/speech")) == "whisper"


def test_a_paraformer_is_loaded_and_read_with(tmp_path: Path):
    given = paraformer()
    given.save_pretrained(tmp_path)
    model = load_model(tmp_path, device=CPU, dtype="float32")
    assert isinstance(model, Paraformer)
    assert isinstance(open_reader(model, TranscribeOptions()), ParaformerReader)
    wav = torch.randn(1, 32_000, generator=torch.Generator().manual_seed(0)) / 10
    assert model.recognize(wav) == given.to_inference(device=CPU, dtype="float32").recognize(wav)
    with pytest.raises(ValueError, match="float16 is for GPUs"):
        load_model(tmp_path, device=CPU, dtype="float16")


def test_a_whisper_is_read_with_as_one():
    model = tiny_en()
    assert isinstance(model, WhisperModel)
    assert isinstance(open_reader(model, TranscribeOptions()), WhisperReader)
