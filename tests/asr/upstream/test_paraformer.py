"""FunASR's folders made ours: whole ones, their variants, and all that can be wrong with them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from paraformer_files import SIZES, mvn_text, random_features, statistics, tokens_of, write_folder
from paraformer_oracle import Sizes, draw, encode, shapes
from typer.testing import CliRunner, Result

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.presets import preset
from echoic.asr.paraformer.tokenizer import Tokenizer
from echoic.asr.upstream.paraformer import import_paraformer, load_upstream
from echoic.asr.upstream.paraformer_layout import upstream_name
from echoic.recipes.cli import build_app

D = SIZES.dim


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "upstream")


def refusal(source: Path) -> str:
    target = source.parent / "new"
    with pytest.raises(CheckpointError) as error:
        import_paraformer(source, target)
    text = str(error.value)
    assert "\n" not in text
    assert str(source) in text
    assert not target.exists(), "nothing is written of a folder that is refused"
    return text


@pytest.mark.parametrize("name", ["small", "large"])
def test_the_table_is_that_of_the_files(name: str):
    vocab = {"small": 8358, "large": 8404}[name]
    config = preset(name, vocab)
    with torch.device("meta"):
        model = Paraformer(config, Tokenizer([str(i) for i in range(vocab)]))
    cross = config.decoder.cross_layers
    found = {
        upstream_name(key, cross): tuple(tensor.shape)
        for key, tensor in model.state_dict().items()
        if not key.startswith("frontend.")
    }
    encoder, decoder = config.encoder, config.decoder
    assert found == shapes(
        Sizes(
            dim=encoder.dim,
            layers=encoder.layers,
            ffn=encoder.ffn_dim,
            vocab=vocab,
            cross=cross,
            plain=decoder.layers - cross,
            kernel=decoder.kernel_size,
        )
    )


def test_the_whole_folder_becomes_ours(source: Path, tmp_path: Path):
    done = import_paraformer(source, tmp_path / "new")
    assert done.left_out == ()
    model = Paraformer.from_pretrained(tmp_path / "new")
    shift, scale = statistics()
    assert torch.allclose(model.frontend.cmvn.shift, shift)
    assert torch.allclose(model.frontend.cmvn.scale, scale)
    assert model.tokenizer.tokens == tuple(tokens_of(SIZES.vocab))
    assert model.config.end_token
    assert model.config.objective.sampling == 0.75
    assert model.config.decoder.cross_layers == SIZES.cross
    (x,) = random_features(9)
    with torch.no_grad():
        hidden = model.encode(x[None], torch.tensor([9]))[0]
    assert torch.allclose(hidden, encode(draw(SIZES), x, SIZES), atol=1e-5)


@pytest.mark.parametrize("nest", ["state_dict", "model_state_dict", "model"])
def test_weights_in_a_checkpoint_of_a_training(source: Path, nest: str, tmp_path: Path):
    state = {f"module.{name}": tensor for name, tensor in draw(SIZES).items()}
    torch.save({nest: state, "epoch": 3, "optimizer": {"lr": 0.1}}, source / "model.pt")
    model, _ = load_upstream(source)
    plain, _ = load_upstream(write_folder(tmp_path / "plain"))
    for name, tensor in plain.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)


def test_the_old_name_and_format_of_the_weights(source: Path):
    (source / "model.pt").unlink()
    torch.save(draw(SIZES), source / "model.pb", _use_new_zipfile_serialization=False)
    assert load_upstream(source)[1] == ()


def test_the_old_vocabulary(source: Path):
    (source / "tokens.json").unlink()
    lines = [f"{token} {i}\n" for i, token in enumerate(tokens_of(SIZES.vocab))]
    (source / "tokens.txt").write_text("".join(lines), encoding="utf-8")
    assert load_upstream(source)[0].tokenizer.tokens == tuple(tokens_of(SIZES.vocab))


def test_words_and_their_pieces_come_along(source: Path, tmp_path: Path):
    (source / "seg_dict").write_text("hello hel@@ lo\n", encoding="utf-8")
    import_paraformer(source, tmp_path / "new")
    tokenizer = Paraformer.from_pretrained(tmp_path / "new").tokenizer
    assert tokenizer.encode("Hello") == [5, 6]


def test_shared_embedding(source: Path):
    state = draw(SIZES)
    del state["decoder.embed.0.weight"]
    torch.save(state, source / "model.pt")
    model, _ = load_upstream(source)
    assert torch.equal(model.decoder.embed.weight, state["decoder.output_layer.weight"])


def extra(*names_and_shapes: tuple[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    return draw(SIZES) | {name: torch.ones(shape) for name, shape in names_and_shapes}


TIMES = (
    ("predictor.upsample_cnn.weight", (D, D, 3)),
    ("predictor.blstm.weight_ih_l0_reverse", (4 * D, D)),
    ("predictor.cif_output2.weight", (1, 2 * D)),
)
HOT = (
    ("bias_encoder.weight_ih_l0", (4 * D, D)),
    ("seaco_decoder.decoders.0.norm1.weight", (D,)),
    ("hotword_output_layer.weight", (SIZES.vocab, D)),
)


@pytest.mark.parametrize(
    ("changes", "state", "left_out"),
    [
        ({"model": "BiCifParaformer", "predictor": "CifPredictorV3"}, TIMES, ["times"]),
        (
            {"model": "SeacoParaformer", "predictor": "CifPredictorV3"},
            TIMES + HOT,
            ["times", "hot"],
        ),
        ({}, (("ctc.ctc_lo.weight", (SIZES.vocab, D)),), ["CTC"]),
    ],
    ids=["bicif", "seaco", "unused-ctc"],
)
def test_variants_import_without_what_we_do_not_have(
    tmp_path: Path, changes: Any, state: Any, left_out: list[str]
):
    source = write_folder(tmp_path / "variant", changes=changes, state=extra(*state))
    done = import_paraformer(source, tmp_path / "new")
    assert len(done.left_out) == len(left_out)
    assert all(word in line for word, line in zip(left_out, done.left_out, strict=True))


def test_the_streaming_model_imports_without_its_chunks(tmp_path: Path):
    changes: Any = {
        "model": "ParaformerStreaming",
        "encoder": "SANMEncoderChunkOpt",
        "encoder_conf": {"input_layer": "pe_online", "chunk_size": [12, 15]},
        "decoder_conf": {"sanm_shfit": 2},
    }
    source = write_folder(tmp_path / "streaming", SIZES._replace(plain=0), changes=changes)
    done = import_paraformer(source, tmp_path / "new")
    assert len(done.left_out) == 1
    assert "streaming" in done.left_out[0]
    assert Paraformer.from_pretrained(tmp_path / "new").config.decoder.shift == 2


def test_contextual_decoder_without_its_hot_words(tmp_path: Path):
    state, last = draw(SIZES), f"decoder.decoders.{SIZES.cross - 1}."
    for name in [name for name in state if name.startswith(last)]:
        state["decoder.last_decoder." + name.removeprefix(last)] = state.pop(name)
    mix = torch.randn(D, 2 * D, 1, generator=torch.Generator().manual_seed(3))
    state |= {
        "decoder.bias_output.weight": mix,
        "decoder.bias_decoder.src_attn.linear_q.weight": torch.ones(D, D),
        "bias_embed.weight": torch.ones(SIZES.vocab, D),
    }
    changes: Any = {"model": "ContextualParaformer", "decoder": "ContextualParaformerDecoder"}
    source = write_folder(tmp_path / "contextual", changes=changes, state=state)
    model, left_out = load_upstream(source)
    assert any("hot words" in line for line in left_out)
    heard = torch.randn(2, D)
    out = model.decoder.get_submodule(f"blocks.{SIZES.cross - 1}.cross.out")
    plain = draw(SIZES)
    weight, bias = (plain[f"{last}src_attn.linear_out.{end}"] for end in ("weight", "bias"))
    expected = (heard @ weight.T + bias) @ mix[:, :D, 0].T
    with torch.no_grad():
        assert torch.allclose(out(heard), expected, atol=1e-5)
    del state["decoder.last_decoder.src_attn.linear_out.bias"]
    write_folder(source, changes=changes, state=state)
    assert f"lacks {last}src_attn.linear_out.bias" in refusal(source)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("am.mvn", "has no am.mvn, the statistics"),
        ("tokens.json", "has no tokens.json"),
        ("model.pt", "has no model.pt"),
        ("config.yaml", "has no config.yaml"),
    ],
)
def test_a_file_is_missing(source: Path, file: str, words: str):
    (source / file).unlink()
    assert words in refusal(source)


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("am.mvn", "<Nnet>", "am.mvn: not readable"),
        ("am.mvn", mvn_text().replace("560 560", "559 560"), "am.mvn: not readable"),
        ("tokens.json", "{}", "is no list of strings"),
        ("tokens.json", "[", "no readable vocabulary"),
        ("tokens.json", json.dumps(tokens_of(12)[:3]), "4 or more strings"),
        ("tokens.json", json.dumps(["a", "b", "c", "a"]), "has 'a' twice"),
        ("config.yaml", "a: [", "not readable YAML"),
        ("config.yaml", "3", "holds no settings"),
        ("config.yaml", "model: Whisper", "model is 'Whisper'; can be imported: Paraformer"),
        ("model.pt", "nothing", "damaged or no PyTorch file"),
    ],
)
def test_a_file_is_not_what_it_should_be(source: Path, file: str, text: str, words: str):
    (source / file).write_text(text, encoding="utf-8")
    assert words in refusal(source)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoder": "ConformerEncoder"}, "encoder is 'ConformerEncoder'"),
        (
            {"decoder_conf": {"sanm_shfit": 2, "num_blocks": 3, "att_layer_num": 2}},
            "decoder_conf: sanm_shfit 2 with 1 blocks that do not look at the encoder",
        ),
        ({"predictor": "Other"}, "predictor is 'Other'; can be imported: CifPredictor"),
        ({"encoder_conf": {"input_layer": "conv2d"}}, "encoder_conf.input_layer is 'conv2d'"),
        ({"encoder_conf": {"output_size": 20}}, "shape (48, 560), expected (60, 560)"),
        ({"encoder_conf": {"num_blocks": 4}}, "lacks encoder.encoders.2."),
        ({"encoder_conf": {"num_blocks": 2}}, "has encoder.encoders.1."),
        ({"encoder_conf": {"attention_heads": 3}}, "dim 16 cannot be split over 3 heads"),
        ({"encoder_conf": {"linear_units": "many"}}, "a value of a wrong kind"),
        ({"encoder_conf": 3}, "encoder_conf"),
        ({"decoder_conf": {"kernel_size": 7}}, "shape (16, 1, 5), expected (16, 1, 7)"),
        ({"frontend_conf": {"n_mels": 40}}, "am.mvn has 560 values, expected 280"),
    ],
)
def test_settings_that_do_not_fit(tmp_path: Path, changes: Any, words: str):
    source = write_folder(tmp_path / "upstream", changes=changes)
    assert words in refusal(source)


def test_a_vocabulary_of_another_model(source: Path):
    (source / "tokens.json").write_text(json.dumps(tokens_of(14)), encoding="utf-8")
    assert "model.pt has 12 tokens, the vocabulary 14" in refusal(source)


def test_weights_that_are_not_finite(tmp_path: Path):
    state = draw(SIZES)
    state["encoder.after_norm.bias"][3] = float("nan")
    assert "encoder.after_norm.bias has NaN" in refusal(write_folder(tmp_path / "u", state=state))


def test_no_tensors_at_all(tmp_path: Path):
    source = write_folder(tmp_path / "u", state={"epoch": 3})
    assert "holds no tensors by name" in refusal(source)


def test_places(source: Path, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        import_paraformer(tmp_path / "none", tmp_path / "new")
    with pytest.raises(FileExistsError, match="is not empty"):
        import_paraformer(source, source)
    with pytest.raises(CheckpointError, match="is a file, expected the folder"):
        import_paraformer(source / "model.pt", tmp_path / "new")


def import_by_command(source: Path, folder: Path) -> Result:
    arguments = ["import", "paraformer", str(source), str(folder)]
    return CliRunner().invoke(build_app(arguments), arguments)


def test_command(source: Path, tmp_path: Path):
    done = import_by_command(source, tmp_path / "new")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "12 tokens, 3 + 3 layers of 16" in done.stdout
    again = import_by_command(source, tmp_path / "new")
    assert (again.exit_code, again.stdout) == (2, "")
    (source / "am.mvn").unlink()
    failed = import_by_command(source, tmp_path / "other")
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert failed.stderr.startswith("echoic: ")
    assert failed.stderr.count("\n") == 1


def test_command_tells_what_is_left_out(tmp_path: Path):
    changes: Any = {"model": "BiCifParaformer", "predictor": "CifPredictorV3"}
    source = write_folder(tmp_path / "bicif", changes=changes, state=extra(*TIMES))
    done = import_by_command(source, tmp_path / "new")
    assert done.exit_code == 0
    assert done.stderr == "echoic: left out: the head for times\n"
