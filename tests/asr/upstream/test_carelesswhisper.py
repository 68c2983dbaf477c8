"""Published and self-trained checkpoints of CarelessWhisper, in all the shapes they come in."""

import collections
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from careless_files import RANK, SIZES, file_dims, file_shapes, file_state, write_file
from torch import Tensor
from typer.testing import CliRunner, Result

from echoic.asr.batch.errors import UsageError
from echoic.asr.errors import CheckpointError
from echoic.asr.upstream.carelesswhisper import ImportedAdapter, import_carelesswhisper
from echoic.asr.upstream.carelesswhisper_layout import upstream_shapes
from echoic.asr.whisper.adapter import load_adapter, merge
from echoic.asr.whisper.checkpoint import load_checkpoint
from echoic.asr.whisper.config import WhisperConfig
from echoic.asr.whisper.layout import expected_shapes
from echoic.asr.whisper.model import WhisperModel
from echoic.recipes.cli import build_app

A = "encoder.blocks.1.attn.value.lora_layer.lora_A"
QUERY = "decoder.blocks.0.cross_attn.query"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One good file for all tests that only read it."""
    return write_file(tmp_path_factory.mktemp("file") / "tiny_300.pt")


def import_to(source: Path, folder: Path, **settings: Any) -> ImportedAdapter:
    return import_carelesswhisper(source, folder, **{"base_model": "tiny.en", **settings})


def refusal(source: Path, folder: Path, **settings: Any) -> str:
    with pytest.raises(CheckpointError) as error:
        import_to(source, folder, **settings)
    text = str(error.value)
    assert "\n" not in text
    assert str(source) in text
    assert not folder.exists(), "nothing is written of a file that is refused"
    return text


def test_the_table_is_that_of_the_files():
    assert upstream_shapes(SIZES, RANK) == file_shapes()
    base = WhisperConfig(51865, 80, 512, 6, 8, 2048, 6, 8, 2048)
    lora = {n: s for n, s in upstream_shapes(base, 32).items() if ".lora_layer." in n}
    # The paper's share for base: 24 L d r numbers.
    assert sum(a * b for a, b in lora.values()) == 24 * 6 * 512 * 32


def test_the_adapter_is_theirs_transposed(whole: Path, tmp_path: Path):
    done = import_to(whole, tmp_path / "a")
    adapter = load_adapter(tmp_path / "a")
    state = file_state()
    assert len(adapter.modules) == 2 * 4 + 8
    assert (done.config.r, done.config.lora_alpha, done.base_folder) == (RANK, RANK, None)
    assert done.num_parameters == adapter.num_parameters == 16 * 2 * 16 * RANK
    name = "decoder.layers.0.encoder_attn.q_proj"
    down, up = (state[f"{QUERY}.lora_layer.lora_{side}"] for side in "AB")
    assert torch.equal(adapter.state[f"{name}.lora_A.weight"], down.t())
    assert torch.equal(adapter.state[f"{name}.lora_B.weight"], up.t())
    assert adapter.metadata == {"source": "CarelessWhisper", "file": "tiny_300.pt"}


def test_the_stream_is_cut_as_in_training(whole: Path, tmp_path: Path):
    import_to(whole, tmp_path / "a")
    streaming = load_adapter(tmp_path / "a").streaming
    assert streaming is not None
    assert (streaming.block_frames, streaming.first_block_frames) == ((15,), 30)
    assert (streaming.base_model, streaming.left_context_frames) == ("tiny.en", None)


@pytest.mark.parametrize(("gran", "extra"), [(2, 14), (5, 5), (10, 2), (15, 1)])
def test_the_first_block_of_every_released_setting_is_600_ms(gran: int, extra: int, tmp_path: Path):
    cfg = {"gran": gran, "rank": RANK, "extra_gran_blocks": extra, "lr": 1e-5}
    done = import_to(write_file(tmp_path / "a.pt", cfg=cfg), tmp_path / "a")
    assert done.streaming.block_frames == (gran,)
    assert done.streaming.first_block_frames == 30


def layer(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """A projection as their layer computes it: the base's, and the low-rank way beside it."""
    down, up = (state[f"{name}.lora_layer.lora_{side}"].double() for side in "AB")
    plain = x @ state[f"{name}.base_layer.weight"].double().t() + state[f"{name}.base_layer.bias"]
    return plain + x @ down @ up


def test_base_and_adapter_together_compute_what_theirs_does(whole: Path, tmp_path: Path):
    done = import_to(whole, tmp_path / "a", with_base=True)
    assert done.base_folder == tmp_path / "a" / "base"
    adapter = load_adapter(tmp_path / "a")
    assert adapter.base_model is not None
    base = load_checkpoint(adapter.base_model)
    assert base.config == SIZES
    assert base.state["model.encoder.layers.1.fc2.bias"].equal(
        file_state()["encoder.blocks.1.mlp.2.bias"]
    )
    model = merge(WhisperModel.from_checkpoint(base), adapter)
    projection = model.get_submodule("decoder.layers.0.encoder_attn.q_proj")
    x = torch.randn(5, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = projection.double()(x)
    torch.testing.assert_close(found, layer(file_state(), QUERY, x), rtol=1e-5, atol=1e-5)


def test_every_tensor_of_the_base_goes_where_it_belongs(whole: Path, tmp_path: Path):
    import_to(whole, tmp_path / "a", with_base=True)
    state = load_checkpoint(tmp_path / "a" / "base").state
    theirs = collections.Counter(
        float(t.double().sum()) for n, t in file_state().items() if ".lora_layer." not in n
    )
    assert collections.Counter(float(t.double().sum()) for t in state.values()) == theirs
    assert state.keys() == expected_shapes(SIZES).keys()


def test_peft_loads_the_result_on_transformers(whole: Path, tmp_path: Path):
    peft = pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    import_to(whole, tmp_path / "a", with_base=True)
    theirs = transformers.WhisperForConditionalGeneration.from_pretrained(tmp_path / "a" / "base")
    merged = peft.PeftModel.from_pretrained(theirs, tmp_path / "a").merge_and_unload().state_dict()
    base = load_checkpoint(tmp_path / "a" / "base")
    ours = merge(WhisperModel.from_checkpoint(base), load_adapter(tmp_path / "a")).state_dict()
    for name in expected_shapes(SIZES):
        assert torch.equal(ours[name.removeprefix("model.")], merged[name]), name


def test_training_checkpoints_with_the_prefix_of_lightning(whole: Path, tmp_path: Path):
    state = {f"model.{name}": tensor for name, tensor in file_state().items()}
    ordered = collections.OrderedDict(state)
    more = {"epoch": 3, "pytorch-lightning_version": "2.5.0", "optimizer_states": [{"state": {}}]}
    path = write_file(tmp_path / "a.ckpt", state=ordered, **more)
    done = import_to(path, tmp_path / "a")
    plain = import_to(whole, tmp_path / "b")
    assert (done.config, done.streaming) == (plain.config, plain.streaming)
    weights = [(tmp_path / name / "adapter_model.safetensors") for name in "ab"]
    assert load_adapter(tmp_path / "a").state.keys() == load_adapter(tmp_path / "b").state.keys()
    assert weights[0].stat().st_size == pytest.approx(weights[1].stat().st_size, abs=64)


def test_sizes_are_read_off_the_tensors_where_dims_lack(tmp_path: Path):
    config = dataclasses.replace(
        SIZES,
        d_model=64,
        encoder_attention_heads=1,
        decoder_attention_heads=1,
        encoder_ffn_dim=256,
        decoder_ffn_dim=256,
        encoder_layers=3,
    )
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": file_state(config)}, path)
    done = import_to(path, tmp_path / "a", block_frames=(5, 10), with_base=True)
    assert done.streaming.block_frames == (5, 10)
    assert load_checkpoint(tmp_path / "a" / "base").config == config
    with pytest.raises(UsageError, match=r"expected numbers of frames .* by --block-frames"):
        import_to(path, tmp_path / "b")
    del (state := file_state(config))["encoder.conv1.weight"]
    torch.save({"state_dict": state}, path)
    assert "has neither dims nor a whole encoder.conv1.weight" in refusal(path, tmp_path / "c")


def test_random_chunk_sizes_are_known_by_the_name(tmp_path: Path):
    cfg = {"rank": RANK, "random": True}
    done = import_to(write_file(tmp_path / "base_rcs.pt", cfg=cfg), tmp_path / "a")
    assert done.streaming.block_frames == tuple(range(5, 51, 5))
    assert done.streaming.first_block_frames == 30


def test_a_multilingual_model(tmp_path: Path):
    config = dataclasses.replace(SIZES, vocab_size=51865)
    path = write_file(
        tmp_path / "large-v2_300_multi.pt", state=file_state(config), dims=file_dims(config)
    )
    done = import_to(path, tmp_path / "a", base_model="large-v2")
    assert done.config.base_model == "openai/whisper-large-v2"
    with pytest.raises(UsageError, match="the box none for a multilingual model; give a folder"):
        import_to(path, tmp_path / "b", with_base=True)
    boxed = load_checkpoint("tiny.en").folder
    with pytest.raises(UsageError, match="has 51864 ids, the model 51865; give that of"):
        import_to(path, tmp_path / "b", with_base=True, tokenizer=boxed)
    assert not (tmp_path / "b").exists()


def test_the_base_model_is_known_by_its_size(whole: Path, tmp_path: Path):
    with pytest.raises(UsageError, match=r"sizes \(16, 2, 1\) of no Whisper .* --base-model"):
        import_carelesswhisper(whole, tmp_path / "a")
    tiny = dataclasses.replace(
        SIZES,
        d_model=384,
        encoder_ffn_dim=1536,
        decoder_ffn_dim=1536,
        encoder_attention_heads=6,
        decoder_attention_heads=6,
        encoder_layers=4,
        decoder_layers=4,
        vocab_size=51864,
    )
    state = {name: torch.zeros(()).expand(s) for name, s in file_shapes(tiny).items()}
    shared = torch.zeros(51864 * 384)
    state = {name: shared[: t.numel()].view(t.shape) for name, t in state.items()}
    path = write_file(tmp_path / "tiny.pt", state=state, dims=file_dims(tiny))
    done = import_carelesswhisper(path, tmp_path / "a")
    assert done.streaming.base_model == "tiny.en"
    assert done.config.base_model == "openai/whisper-tiny.en"


def changed(**changes: Tensor | None) -> dict[str, Tensor]:
    state = {**file_state(), **changes}
    return {name: tensor for name, tensor in state.items() if tensor is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({A: None}, f"missing {A};"),
        ({"encoder.conv1.bias": None}, "missing encoder.conv1.bias;"),
        ({"encoder.mask": torch.zeros(3)}, "unexpected encoder.mask; fetch it again, or pass over"),
        ({A: None, "extra": torch.zeros(3)}, f"missing {A}, unexpected extra;"),
        ({f"x{i}": torch.zeros(1) for i in range(9)}, "unexpected x0, x1, x2 and 6 more;"),
        ({A: torch.zeros(RANK, 16)}, f"{A} is (3, 16), expected (16, 3)"),
        ({"decoder.ln.bias": torch.zeros(17)}, "decoder.ln.bias is (17,), expected (16,)"),
        ({"decoder.ln.bias": torch.zeros(16, dtype=torch.int64)}, "holds torch.int64; expected fl"),
        ({A: torch.full((16, RANK), torch.nan)}, None),
    ],
)
def test_tensors_are_counted_and_measured(
    changes: dict[str, Tensor | None], message: str | None, tmp_path: Path
):
    path = write_file(tmp_path / "a.pt", state=changed(**changes))
    if message is None:
        with pytest.raises(CheckpointError, match="holds NaN or infinity"):
            import_to(path, tmp_path / "a")
    else:
        assert message in refusal(path, tmp_path / "a")


def test_tensors_known_not_to_matter_are_passed_over(tmp_path: Path):
    path = write_file(tmp_path / "a.pt", state=changed(**{"encoder.mask": torch.zeros(3)}))
    assert import_to(path, tmp_path / "a", ignore=["encoder.ma?k"]).config.r == RANK


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cfg": {"gran": 15, "rank": 32, "extra_gran_blocks": 1}}, "says rank 32, its matrices"),
        ({"dims": {**file_dims(), "n_text_state": 32}}, "n_text_state 32; expected the same"),
        ({"dims": {**file_dims(), "n_mels": "80"}}, "tells no n_mels; expected OpenAI's"),
        ({"dims": {**file_dims(), "n_audio_layer": 10**9}}, "has more layers than tensors"),
        ({"dims": {**file_dims(), "n_audio_layer": 3}}, "lora_B and 20 more"),
        ({"state": {}}, "is empty or no dictionary"),
        ({"state": {"encoder.conv1.weight": 3}}, "has more layers than tensors"),
    ],
)
def test_contradictions_are_told(settings: dict[str, Any], message: str, tmp_path: Path):
    path = write_file(tmp_path / "a.pt", **settings)
    assert message in refusal(path, tmp_path / "a")


def test_other_files_are_refused(whole: Path, tmp_path: Path):
    path = tmp_path / "a.pt"
    torch.save(file_state(), path)
    assert "holds no state_dict" in refusal(path, tmp_path / "a")
    torch.save([1, 2], path)
    assert "holds no state_dict" in refusal(path, tmp_path / "a")
    path.write_bytes(whole.read_bytes()[:-1000])
    assert "is truncated" in refusal(path, tmp_path / "a")


def test_a_full_folder_is_left_alone(whole: Path, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is there already; name a new folder"):
        import_to(whole, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def typed(*words: object) -> Result:
    line = ["import", "carelesswhisper", *map(str, words)]
    result = CliRunner().invoke(build_app(line), line)
    assert "Traceback" not in result.stderr
    return result


def test_the_command(whole: Path, tmp_path: Path):
    result = typed(whole, tmp_path / "a", "--base-model", "tiny.en", "--with-base")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == (
        f"{tmp_path / 'a'}: 1,536 weights of rank 3 for openai/whisper-tiny.en, blocks of 300 ms\n"
    )
    assert "licence of its weights is not clear" in result.stderr
    assert load_adapter(tmp_path / "a").streaming is not None
    assert load_checkpoint(tmp_path / "a" / "base").config == SIZES


def test_the_command_with_blocks_of_its_own(whole: Path, tmp_path: Path):
    words = ("--base-model", "tiny.en", "--block-frames", "50,5", "--first-block-frames", 30)
    result = typed(whole, tmp_path / "a", *words)
    assert result.stdout.endswith("blocks of 100 to 1000 ms\n")
    streaming = load_adapter(tmp_path / "a").streaming
    assert streaming is not None
    assert (streaming.block_frames, streaming.first_block_frames) == ((5, 50), 30)


def test_the_command_fails_in_one_line(whole: Path, tmp_path: Path):
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"PK")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    wrong = [
        (2, "no file", (tmp_path / "none.pt", tmp_path / "a")),
        (2, "is there already", (whole, tmp_path / "full")),
        (2, "--base-model", (whole, tmp_path / "a")),
        (2, "expected numbers such as", (whole, tmp_path / "a", "--block-frames", "5,x")),
        (1, "is truncated or no PyTorch file", (broken, tmp_path / "a")),
    ]
    for code, message, words in wrong:
        result = typed(*words)
        assert (result.exit_code, result.stdout) == (code, "")
        (line,) = result.stderr.splitlines()
        assert line.startswith("echoic: ")
        assert message in line
