"""What lies in the box, and the verb that lists it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from echoic.asr.errors import CheckpointError
from echoic.asr.whisper import box
from echoic.asr.whisper.adapter_config import AdapterConfig, StreamingAdapterConfig
from echoic.recipes.cli import build_app

CONFIG = AdapterConfig(r=8, lora_alpha=8, target_modules=("q_proj",), base_model="small")
STREAMING = StreamingAdapterConfig("tiny.en", (5, 16, 50), None, 0.0, 0.1, 0.6)


def put_adapter(
    folder: Path, config: AdapterConfig = CONFIG, streaming: StreamingAdapterConfig | None = None
) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps(config.to_dict()))
    (folder / "adapter_model.safetensors").write_bytes(bytes(1_500_000))
    if streaming is not None:
        (folder / "echoic_streaming.json").write_text(json.dumps(streaming.to_dict()))
    return folder


@pytest.fixture
def own_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(box, "BOX", tmp_path)
    (tmp_path / "tiny.en").mkdir()
    (tmp_path / "tiny.en" / "config.json").write_text('{"description": "the small one"}')
    return tmp_path


def models() -> tuple[int, list[str]]:
    result = CliRunner().invoke(build_app(["models"]), ["models"])
    return result.exit_code, result.stdout.splitlines()


def test_a_folder_is_a_model_or_an_adapter(own_box: Path):
    put_adapter(own_box / "causal", streaming=STREAMING)
    merged = put_adapter(own_box / "merged")
    (merged / "config.json").write_text("{}")
    (own_box / "notes").mkdir()
    assert [m.name for m in box.box_models()] == ["merged", "tiny.en"]
    (adapter,) = box.box_adapters()
    assert (adapter.name, adapter.folder) == ("causal", own_box / "causal")
    assert (adapter.base_model, adapter.streaming) == ("tiny.en", STREAMING)
    assert adapter.num_bytes > 1_500_000


def test_the_command_lists_both(own_box: Path):
    put_adapter(own_box / "causal", streaming=STREAMING)
    put_adapter(own_box / "dialect")
    code, lines = models()
    assert code == 0
    own = [line for line in lines if not line.startswith(("echo-", "paraformer-", "talker-"))]
    assert [" ".join(line.split()) for line in own] == [
        "tiny.en 0.0 MB the small one",
        "causal 1.5 MB adapter for tiny.en, rank 8, live in blocks of 100 to 1000 ms",
        "dialect 1.5 MB adapter for small, rank 8",
    ]


def test_one_block_size_is_told_as_one(own_box: Path):
    put_adapter(own_box / "a", streaming=StreamingAdapterConfig("x", (15,), None, 0.0, 0.0, 0.0))
    assert box.box_adapters()[0].description == "adapter for x, rank 8, live in blocks of 300 ms"


def test_an_adapter_with_broken_settings_is_told(own_box: Path):
    folder = put_adapter(own_box / "a")
    (folder / "adapter_config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"adapter_config\.json is not readable JSON"):
        box.box_adapters()


def test_what_is_shipped_can_be_listed_without_torch():
    code = (
        "import sys; from echoic.recipes.cli import build_app\n"
        "build_app(['models'])(['models'], standalone_mode=False)\n"
        "sys.exit(int('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "tiny.en" in done.stdout
