import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from whisper_factory import SMALL, random_state, write_folder

from echoic.asr.whisper.box import box_models
from echoic.asr.whisper.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from echoic.asr.whisper.hub import SHORT_NAMES, find_folder
from echoic.asr.whisper.layout import TOKEN_EMBEDDING, expected_shapes

BIAS = "model.encoder.conv1.bias"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "model")


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def refusal(source: object) -> str:
    """The one line that a model is refused with."""
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(source)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    return str(error.value)


def test_loads_a_folder(folder: Path):
    checkpoint = load_checkpoint(folder)
    assert checkpoint.config == SMALL
    assert same(checkpoint.state, random_state())
    assert (checkpoint.name, checkpoint.folder) == (str(folder), folder)
    assert checkpoint.generation.alignment_heads == ((1, 0), (1, 1))
    assert checkpoint.tokenizer.decode(checkpoint.tokenizer.encode(" hello")) == " hello"


def test_the_tensors_are_those_of_transformers():
    transformers = pytest.importorskip("transformers")
    config = transformers.WhisperConfig(**SMALL.to_dict())
    theirs = transformers.WhisperForConditionalGeneration(config).state_dict()
    shapes = {name: tuple(t.shape) for name, t in theirs.items() if name != "proj_out.weight"}
    assert shapes == expected_shapes(SMALL)


def test_saves_what_it_loads(folder: Path, tmp_path: Path):
    first = load_checkpoint(folder)
    save_checkpoint(first, tmp_path / "copy", description="a copy")
    second = load_checkpoint(tmp_path / "copy")
    assert same(first.state, second.state)
    assert (first.config, first.generation) == (second.config, second.generation)
    save_checkpoint(second, tmp_path / "copy")  # onto itself
    assert same(first.state, load_checkpoint(tmp_path / "copy").state)


def test_transformers_loads_what_is_saved(folder: Path, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    save_checkpoint(load_checkpoint(folder), tmp_path / "copy")
    model, report = transformers.WhisperForConditionalGeneration.from_pretrained(
        tmp_path / "copy", output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert model.generation_config.no_timestamps_token_id == 50362
    state = random_state()
    assert torch.equal(model.model.encoder.conv1.bias, state[BIAS])
    assert torch.equal(model.proj_out.weight, state[TOKEN_EMBEDDING])


def test_dtype_is_chosen_or_kept(tmp_path: Path):
    state = {name: tensor.half() for name, tensor in random_state().items()}
    folder = write_folder(tmp_path, state)
    assert load_checkpoint(folder).state[BIAS].dtype == torch.float32
    assert load_checkpoint(folder, dtype=torch.bfloat16).state[BIAS].dtype == torch.bfloat16
    assert same(load_checkpoint(folder, dtype=None).state, state)


def test_tied_projection_is_dropped_and_another_refused(tmp_path: Path):
    state = random_state()
    tied = write_folder(tmp_path / "a", {**state, "proj_out.weight": state[TOKEN_EMBEDDING] + 0})
    assert same(load_checkpoint(tied).state, state)
    other = write_folder(tmp_path / "b", {**state, "proj_out.weight": state[TOKEN_EMBEDDING] + 1})
    assert "proj_out.weight differs from" in refusal(other)


def test_shards_are_joined_and_stay_in_the_folder(folder: Path):
    state = random_state()
    names = sorted(state)
    shards = {"model-00001-of-00002.safetensors": names[:20]}
    shards["model-00002-of-00002.safetensors"] = names[20:]
    for shard, inside in shards.items():
        save_file({name: state[name] for name in inside}, folder / shard)
    where = {name: shard for shard, inside in shards.items() for name in inside}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": where}))
    (folder / "model.safetensors").unlink()
    assert same(load_checkpoint(folder).state, state)
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert "model-00002-of-00002.safetensors is damaged or no" in refusal(folder)
    index.write_text(json.dumps({"weight_map": {name: "../x.safetensors" for name in names}}))
    assert "'../x.safetensors', expected a plain file name" in refusal(folder)
    index.write_text("{}")
    assert "has no weight_map" in refusal(folder)


def test_pytorch_weights_without_code(folder: Path):
    (folder / "model.safetensors").unlink()
    torch.save(random_state(), folder / "pytorch_model.bin")
    assert same(load_checkpoint(folder).state, random_state())


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("opened"),))


def test_a_pickle_is_never_executed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save({"model": Evil()}, folder / "pytorch_model.bin")
    assert "was refused: not a PyTorch file of tensors alone" in refusal(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    assert "was refused" in refusal(folder)
    assert not Path("opened").exists()
    torch.save([torch.zeros(1)], folder / "pytorch_model.bin")
    assert "holds no dictionary of tensors" in refusal(folder)


@pytest.mark.parametrize("size", [0, 7, 1000, -100])
def test_truncated_weights(folder: Path, size: int):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    assert "model.safetensors is damaged or no safetensors file" in refusal(folder)


def test_missing_files_are_named(folder: Path, tmp_path: Path):
    assert f"{tmp_path} is no model folder: it has no config.json" in refusal(tmp_path)
    (folder / "tokenizer.json").unlink()
    assert "has no tokenizer" in refusal(folder)
    (folder / "model.safetensors").unlink()
    assert "has no weights: expected model.safetensors" in refusal(folder)
    (folder / "config.json").write_text("[1]")
    assert "config.json holds a list, expected an object" in refusal(folder)
    (folder / "config.json").write_text("{")
    assert "config.json is not readable JSON" in refusal(folder)


def test_tensors_must_match_the_config(tmp_path: Path):
    state = random_state()
    wrong = {**state, BIAS: torch.zeros(17)}
    message = refusal(write_folder(tmp_path / "shape", wrong))
    assert f"{BIAS} has shape (17,), config.json says (16,)" in message
    less = {name: t for name, t in state.items() if name != BIAS}
    assert f"has no tensor {BIAS}" in refusal(write_folder(tmp_path / "less", less))
    more = {**state, "model.extra": torch.zeros(1), "model.more": torch.zeros(1)}
    message = refusal(write_folder(tmp_path / "more", more))
    assert "has an unexpected tensor model.extra (and 1 more)" in message
    integers = {**state, BIAS: torch.zeros(16, dtype=torch.int32)}
    assert "holds torch.int32" in refusal(write_folder(tmp_path / "int", integers))


def test_tokenizer_must_fit_the_vocabulary(folder: Path):
    path = folder / "tokenizer.json"
    values = json.loads(path.read_text())
    for token in values["added_tokens"]:
        if token["content"] == "<|notimestamps|>":
            token["id"] += 1
    path.write_text(json.dumps(values))
    assert "the tokenizer has 51865 ids, the model only 51864" in refusal(folder)


def test_old_models_keep_suppressed_tokens_in_config_json(folder: Path):
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, "suppress_tokens": [1, 2]}))
    assert load_checkpoint(folder).generation.suppress_tokens == (1, 2)


def test_names_that_are_none(folder: Path, monkeypatch: pytest.MonkeyPatch):
    boxed = ", ".join(model.name for model in box_models())
    assert f"no model 'huge'; in the box: {boxed}" in refusal("huge")
    assert "no folder a/b/c" in refusal("a/b/c")
    assert "no folder ./tiny.en" in refusal("./tiny.en")
    assert "is a file, expected the folder" in refusal(folder / "config.json")
    with pytest.raises(CheckpointError, match="it has no revision 'main'"):
        load_checkpoint(folder, revision="main")


def test_no_network_is_one_line_with_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    message = refusal("base")
    assert "cannot fetch openai/whisper-base from the Hugging Face Hub" in message
    assert "in the box: tiny.en" in message
    assert "give a folder with config.json and model.safetensors" in message
    assert "is no Hugging Face id" in refusal("no good/name")


def test_downloads_never_ask_for_pickles(folder: Path, monkeypatch: pytest.MonkeyPatch):
    asked: dict[str, object] = {}

    def download(repository: str, **options: object) -> str:
        asked.update(options, repository=repository)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    checkpoint = load_checkpoint("turbo", revision="abc")
    assert checkpoint.folder == folder
    assert asked["repository"] == SHORT_NAMES["turbo"] == "openai/whisper-large-v3-turbo"
    assert asked["revision"] == "abc"
    assert all(str(p).endswith((".json", ".txt", ".safetensors")) for p in asked["allow_patterns"])  # type: ignore[attr-defined]


def test_the_box_wins_over_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(write_folder(tmp_path / "x"), tmp_path / "tiny.en")
    assert find_folder("tiny.en") == box_models()[0].folder
    assert find_folder("./tiny.en") == Path("tiny.en")
