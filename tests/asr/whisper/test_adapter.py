import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from whisper_factory import SMALL, random_state, write_folder

from echoic.asr.whisper.adapter import (
    AdapterConfig,
    StreamingAdapterConfig,
    check_adapter,
    from_peft_names,
    load_adapter,
    merge,
    save_adapter,
    to_peft_names,
)
from echoic.asr.whisper.checkpoint import CheckpointError, load_checkpoint
from echoic.asr.whisper.layout import expected_shapes
from echoic.asr.whisper.model import WhisperModel

ATTENTION = r".*(self_attn|encoder_attn)\.(q_proj|k_proj|v_proj|out_proj)"
CONFIG = AdapterConfig(r=3, lora_alpha=6, target_modules=ATTENTION, base_model="small")
STREAMING = StreamingAdapterConfig("small", (2, 16, 50), 500, 0.25, 0.1, 0.6)
QUERY = "encoder.layers.1.self_attn.q_proj"


def adapter_state(config: AdapterConfig = CONFIG, seed: int = 0) -> dict[str, Tensor]:
    """Random weights for all modules that a config selects, by our names."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in expected_shapes(SMALL).items():
        module = name.removesuffix(".weight")
        if name.endswith("_proj.weight") or name.endswith(("fc1.weight", "fc2.weight")):
            if not config.selects(module):
                continue
            r, short = config.rank(module), module.removeprefix("model.")
            state[f"{short}.lora_A.weight"] = torch.randn(r, shape[1], generator=generator) / 4
            state[f"{short}.lora_B.weight"] = torch.randn(shape[0], r, generator=generator) / 4
    return state


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_adapter(tmp_path / "adapter", adapter_state(), CONFIG, streaming=STREAMING)
    return tmp_path / "adapter"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("base"))


def our_model(base: Path) -> WhisperModel:
    return WhisperModel.from_checkpoint(load_checkpoint(base))


def their_model(base: Path) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    return transformers.WhisperForConditionalGeneration.from_pretrained(base).eval()


def same_weights(ours: WhisperModel, theirs: nn.Module) -> bool:
    other = theirs.state_dict()
    named = [(n, t) for n, t in ours.state_dict().items() if not n.startswith("log_mel.")]
    return all(torch.equal(tensor, other[f"model.{name}"]) for name, tensor in named)


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        load_adapter(folder)
    text = str(error.value)
    assert "\n" not in text
    assert str(folder) in text
    assert ";" in text, "no remedy"
    return text


def rewrite(folder: Path, **changes: Any) -> Path:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


def edit_weights(folder: Path, **changes: Tensor | None) -> Path:
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path) | {n: t for n, t in changes.items() if t is not None}
    save_file(
        {n: t for n, t in tensors.items() if n not in changes or changes[n] is not None}, path
    )
    return folder


def test_loads_what_it_saves(folder: Path):
    adapter = load_adapter(folder)
    state = adapter_state()
    assert (adapter.config, adapter.streaming, adapter.folder) == (CONFIG, STREAMING, folder)
    assert adapter.state.keys() == state.keys()
    assert all(torch.equal(adapter.state[name], state[name]) for name in state)
    assert len(adapter.modules) == 2 * 4 + 2 * 8
    assert adapter.num_parameters == 24 * 2 * 3 * 16
    assert adapter.metadata == {}


def test_names_in_the_file_are_those_of_peft(folder: Path):
    names = load_file(folder / "adapter_model.safetensors").keys()
    assert f"base_model.model.model.{QUERY}.lora_A.weight" in names


def test_metadata_half_precision_and_a_second_save(folder: Path):
    save_adapter(folder, adapter_state(), CONFIG, metadata={"steps": "12"}, dtype=torch.float16)
    assert {t.dtype for t in load_file(folder / "adapter_model.safetensors").values()} == {
        torch.float16
    }
    adapter = load_adapter(folder)
    assert adapter.streaming is None, "of the adapter that was there before"
    assert adapter.metadata == {"steps": "12"}
    for name, tensor in adapter_state().items():
        assert torch.equal(adapter.state[name], tensor.half().float())


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        dataclasses.replace(CONFIG, use_rslora=True),
        dataclasses.replace(CONFIG, target_modules=("fc1", "fc2", "v_proj", "k_proj")),
        dataclasses.replace(CONFIG, exclude_modules=r".*decoder\..*"),
        dataclasses.replace(CONFIG, exclude_modules=("q_proj",)),
        dataclasses.replace(
            CONFIG,
            rank_pattern={r"encoder\.layers\.\d\.self_attn\.q_proj": 5, "out_proj": 1},
            alpha_pattern={"out_proj": 7, "layers.0.encoder_attn.k_proj": 2.5},
        ),
        dataclasses.replace(CONFIG, target_modules=r"model\.encoder\.layers\.1\..*(fc1|q_proj)"),
    ],
    ids=["plain", "rslora", "feed-forward", "excluded", "excluded names", "patterns", "full names"],
)
def test_peft_merges_our_folder_to_the_same_weights(
    config: AdapterConfig, base: Path, tmp_path: Path
):
    peft = pytest.importorskip("peft")
    save_adapter(tmp_path, adapter_state(config), config, dtype=torch.float16)
    theirs = peft.PeftModel.from_pretrained(their_model(base), tmp_path)
    assert same_weights(merge(our_model(base), load_adapter(tmp_path)), theirs.merge_and_unload())


def test_logits_are_those_of_peft_on_transformers(folder: Path, base: Path):
    peft = pytest.importorskip("peft")
    theirs = peft.PeftModel.from_pretrained(their_model(base), folder)
    ours = merge(our_model(base), load_adapter(folder)).eval()
    mel = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(1))
    ids = torch.tensor([[50257, 50362, 400, 500, 600]])
    with torch.no_grad():
        expected = theirs(input_features=mel, decoder_input_ids=ids).logits
        plain = their_model(base)(input_features=mel, decoder_input_ids=ids).logits
        encoded = ours.encoder(mel.transpose(1, 2))
        found = ours.decoder.logits(ours.decoder(ids, ours.decoder.start(encoded)))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
    assert (expected - plain).abs().max() > 0.1


@pytest.mark.parametrize("targets", [ATTENTION, ["q_proj", "fc2"], "all-linear"])
def test_merges_what_peft_saves(targets: Any, base: Path, tmp_path: Path):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        r=2, lora_alpha=5, target_modules=targets, init_lora_weights=False, lora_dropout=0.1
    )
    theirs = peft.get_peft_model(their_model(base), config)
    theirs.save_pretrained(tmp_path)
    assert same_weights(merge(our_model(base), load_adapter(tmp_path)), theirs.merge_and_unload())


@pytest.mark.parametrize("how", ["wrapped", "injected"])
def test_state_of_our_model_under_peft_goes_out_and_back(how: str, base: Path, tmp_path: Path):
    peft = pytest.importorskip("peft")
    model = our_model(base)
    config = peft.LoraConfig(r=3, lora_alpha=6, target_modules=ATTENTION, init_lora_weights=False)
    if how == "wrapped":
        state = peft.get_peft_model_state_dict(peft.get_peft_model(model, config))
    else:
        peft.inject_adapter_in_model(config, model)
        state = {n: t for n, t in model.state_dict().items() if ".lora_" in n}
        assert f"{QUERY}.lora_A.default.weight" in state
    save_adapter(tmp_path, state, CONFIG)
    peft_model = peft.PeftModel.from_pretrained(their_model(base), tmp_path)
    merged = merge(our_model(base), load_adapter(tmp_path))
    assert same_weights(merged, peft_model.merge_and_unload())
    with pytest.raises(ValueError, match="expected a plain float Linear: merge before"):
        merge(model, load_adapter(tmp_path))  # it carries an adapter already


def test_folder_that_peft_writes_of_our_own_model(base: Path, tmp_path: Path):
    peft = pytest.importorskip("peft")
    pattern = r"(encoder|decoder)\.layers\.\d+\.self_attn\.q_proj"  # has no "model."
    config = peft.LoraConfig(r=2, target_modules=pattern, init_lora_weights=False)
    theirs = peft.get_peft_model(our_model(base), config)
    theirs.save_pretrained(tmp_path)
    merged = merge(our_model(base), load_adapter(tmp_path)).state_dict()
    expected = theirs.merge_and_unload().state_dict()
    assert all(torch.equal(merged[name], expected[name]) for name in expected)
    with pytest.raises(CheckpointError, match=r"does not name; begin a pattern with '\.\*'"):
        save_adapter(
            tmp_path / "b", theirs_state(tmp_path), AdapterConfig(2, 8, target_modules=pattern)
        )


def theirs_state(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def test_names_go_out_and_back():
    state = adapter_state()
    named = to_peft_names(state)
    assert from_peft_names(named).keys() == state.keys()
    assert to_peft_names(named).keys() == named.keys()
    with pytest.raises(CheckpointError, match="is there twice"):
        to_peft_names({**state, **named})


def test_merging_leaves_the_checkpoint_and_other_weights_alone(folder: Path, base: Path):
    checkpoint = load_checkpoint(base)
    model = WhisperModel.from_checkpoint(checkpoint)
    adapter = load_adapter(folder)
    before = random_state()
    assert merge(model, adapter) is model
    assert all(torch.equal(checkpoint.state[name], tensor) for name, tensor in before.items())
    after = {f"model.{n}": t for n, t in model.state_dict().items() if not n.startswith("log_mel.")}
    changed = {
        name.removeprefix("model.")
        for name, tensor in before.items()
        if not torch.equal(after[name], tensor)
    }
    assert changed == {f"{module}.weight" for module in adapter.modules}
    a, b = (adapter.state[f"{QUERY}.lora_{side}.weight"].double() for side in "AB")
    expected = before[f"model.{QUERY}.weight"] + 2 * b @ a
    torch.testing.assert_close(model.get_parameter(f"{QUERY}.weight").double(), expected)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_model_turned_to_inference_is_refused(dtype: str, folder: Path, base: Path):
    model = our_model(base).to_inference(device=torch.device("cpu"), dtype=dtype)
    with pytest.raises(ValueError, match="merge before `to_inference`"):
        merge(model, load_adapter(folder))


def test_another_model_is_refused(folder: Path):
    adapter = load_adapter(folder)
    check_adapter(adapter, SMALL)
    deeper = dataclasses.replace(SMALL, encoder_layers=3)
    with pytest.raises(CheckpointError, match=r"no weights for encoder\.layers\.2.* \(and 3 more"):
        check_adapter(adapter, deeper)
    shallower = dataclasses.replace(SMALL, encoder_layers=1)
    with pytest.raises(CheckpointError, match=r"for another model, with encoder\.layers\.1\.self"):
        check_adapter(adapter, shallower)
    wider = dataclasses.replace(SMALL, d_model=32)
    with pytest.raises(CheckpointError, match=r"\(16, 16\) in .* is \(32, 32\); .* on, small"):
        check_adapter(adapter, wider)


def test_a_base_model_in_the_folder(tmp_path: Path):
    inside = dataclasses.replace(STREAMING, base_model="./base")
    save_adapter(tmp_path / "a", adapter_state(), CONFIG, streaming=inside)
    assert load_adapter(tmp_path / "a").base_model == str(tmp_path / "a" / "base")
    save_adapter(tmp_path / "a", adapter_state(), CONFIG)
    assert load_adapter(tmp_path / "a").base_model == "small"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3', only 'LORA'"),
        ({"peft_type": None}, "peft_type is None"),
        ({"use_dora": True}, "DoRA scales the base weights"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"init_lora_weights": "pissa_niter_4"}, "rewrites the base model"),
        ({"modules_to_save": ["conv1"]}, "sets modules_to_save to ['conv1']"),
        ({"layers_to_transform": [1]}, "sets layers_to_transform"),
        ({"fan_in_fan_out": True}, "sets fan_in_fan_out"),
        ({"brand_new": {"a": 1}}, "sets brand_new"),
        ({"r": 4}, "says (4, in)"),
        ({"r": "3"}, "r is '3', expected an integer"),
        ({"r": None}, "has no r"),
        ({"lora_alpha": float("nan")}, "alpha of 'lora_alpha' is nan"),
        ({"rank_pattern": {"q_proj": 9}}, "says (9, in)"),
        ({"rank_pattern": []}, None),
        ({"rank_pattern": [1]}, "expected an object of patterns"),
        ({"target_modules": "(("}, "'((' is no pattern of module names"),
        ({"target_modules": []}, "target_modules is empty"),
        ({"target_modules": [1]}, "expected a pattern or a list"),
        ({"target_modules": ["q_proj"]}, "which target_modules q_proj does not name"),
        ({"use_rslora": "yes"}, "expected true or false"),
        ({"base_model_name_or_path": 3}, "expected a text"),
    ],
)
def test_settings_that_would_change_the_result_are_refused(
    changes: dict[str, Any], message: str | None, folder: Path
):
    rewrite(folder, **changes)
    if message is None:
        assert load_adapter(folder).config == CONFIG
    else:
        assert message in refusal(folder)


FULL = f"base_model.model.model.{QUERY}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({f"{FULL}.lora_A.weight": None}, f"{QUERY} has no lora_A"),
        (
            {f"{FULL}.lora_B.weight": torch.zeros(16, 2)},
            "(16, 2), adapter_config.json says (out, 3)",
        ),
        ({f"{FULL}.lora_B.weight": torch.zeros(3)}, "has shape (3,)"),
        ({f"{FULL}.lora_A.weight": torch.full((3, 16), torch.nan)}, "holds NaN or infinity"),
        (
            {f"{FULL}.lora_A.weight": torch.zeros(3, 16, dtype=torch.int8)},
            "torch.int8, expected fl",
        ),
        ({f"{FULL}.lora_magnitude_vector": torch.zeros(16)}, "unexpected tensor"),
        ({"base_model.model.model.encoder.conv1.lora_A.weight": torch.zeros(3, 16)}, "unexpected"),
        ({f"{QUERY}.lora_A.weight": torch.zeros(3, 16)}, "is there twice"),
    ],
)
def test_weights_that_do_not_fit_are_refused(changes: dict[str, Any], message: str, folder: Path):
    assert message in refusal(edit_weights(folder, **changes))


def test_broken_folders_are_refused_in_one_line(folder: Path, tmp_path: Path):
    weights = folder / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    assert "is damaged or no safetensors file" in refusal(folder)
    weights.unlink()
    assert "has no adapter_model.safetensors; save" in refusal(folder)
    (folder / "adapter_config.json").write_text("[1]")
    assert "holds a list, expected an object" in refusal(folder)
    (folder / "adapter_config.json").write_text("{")
    assert "is not readable JSON" in refusal(folder)
    assert "is no adapter folder: it has no adapter_config.json" in refusal(tmp_path / "none")


class Canary:
    def __reduce__(self):
        return (Path.touch, (Path("canary"),))


def test_pickles_are_never_opened(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Canary()))
    assert "adapter_model.bin is a pickle and is not read" in refusal(folder)
    assert not (folder / "canary").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chunk": 1}, "echoic_streaming.json: unknown chunk"),
        ({"block_frames": None}, "block_frames is None"),
        ({"block_frames": [16, 8]}, "expected ascending sizes"),
        ({"block_frames": [0, 8]}, "expected frames of 20 ms"),
        ({"block_frames": []}, "block_frames is ()"),
        ({"left_context_frames": -1}, "expected null or 0 or more"),
        ({"first_block_frames": 0}, "expected null or 1 or more"),
        ({"initial_max": "0"}, "expected a finite number"),
        ({"delay_seconds": -0.1}, "expected seconds, 0 or more"),
        ({"sample_rate": 8000}, "sample_rate is 8000, Whisper's is 16000"),
        ({"base_model": ""}, "expected a model's name"),
    ],
)
def test_settings_of_the_stream_are_checked(changes: dict[str, Any], message: str, folder: Path):
    path = folder / "echoic_streaming.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    assert message in refusal(folder)


def test_missing_settings_of_the_stream_are_named(folder: Path):
    (folder / "echoic_streaming.json").write_text("{}")
    assert "missing base_model, block_frames, left_context_frames" in refusal(folder)


def test_nothing_is_written_of_a_bad_state(tmp_path: Path):
    state = adapter_state()
    huge = {**state, f"{QUERY}.lora_A.weight": torch.full((3, 16), 1e6)}
    with pytest.raises(CheckpointError, match=r"infinity in torch\.float16"):
        save_adapter(tmp_path / "a", huge, CONFIG, dtype=torch.float16)
    with pytest.raises(CheckpointError, match="holds no weights"):
        save_adapter(tmp_path / "a", {}, CONFIG)
    assert not (tmp_path / "a").exists()
