"""An exported model does what the model does, for any batch, and says what it is."""

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from exported_paraformer import hasty, plain
from house import ROOT
from listening_paraformer import listener
from paraformer_files import tokens_of
from torch import Tensor

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.checkpoint import save_settings
from echoic.asr.paraformer.config import ObjectiveConfig, PredictorConfig
from echoic.asr.paraformer.fusion import Fusion
from echoic.asr.paraformer.hotwords import HotWords
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.ngrams import Ngrams
from echoic.asr.paraformer.onnx.export import export_onnx
from echoic.asr.paraformer.onnx.format import OUTPUTS, metadata_of
from echoic.asr.paraformer.onnx.runtime import OnnxParaformer
from echoic.asr.paraformer.recognition import Recognition
from echoic.asr.paraformer.tokenizer import Tokenizer

onnx: Any = pytest.importorskip("onnx")
onnxruntime: Any = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


class Twins(NamedTuple):
    """A model and the folder that it was exported to."""

    model: Paraformer
    folder: Path

    @property
    def exported(self) -> OnnxParaformer:
        return OnnxParaformer.from_folder(self.folder, threads=1)


@pytest.fixture(scope="module")
def plain_twins(tmp_path_factory: pytest.TempPathFactory) -> Twins:
    return twins(plain, tmp_path_factory)


@pytest.fixture(scope="module")
def hasty_twins(tmp_path_factory: pytest.TempPathFactory) -> Twins:
    return twins(hasty, tmp_path_factory)


def twins(make: Callable[[], Paraformer], place: pytest.TempPathFactory) -> Twins:
    folder = place.mktemp(make.__name__) / "exported"
    model = make()
    assert export_onnx(model, folder, description="a test") == folder / "model.onnx"
    return Twins(model, folder)


@pytest.fixture(scope="module")
def listening_twins(tmp_path_factory: pytest.TempPathFactory) -> Twins:
    return twins(listener, tmp_path_factory)


@pytest.fixture
def copy(plain_twins: Twins, tmp_path: Path) -> Path:
    """The plain model's folder, to be spoiled."""
    return shutil.copytree(plain_twins.folder, tmp_path / "copy")


def noise(*lengths: int) -> tuple[Tensor, Tensor]:
    """Features whose padding must not be heard, and their lengths."""
    generator = torch.Generator().manual_seed(len(lengths))
    features = torch.randn(len(lengths), max(1, *lengths, 0), 560, generator=generator)
    return features, torch.tensor(lengths)


def run(folder: Path, features: Tensor, lengths: Tensor) -> dict[str, Tensor]:
    """What any program gets that knows nothing of echoic."""
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    given = {"features": features.numpy(), "lengths": lengths.numpy()}
    found = session.run(None, given)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, map(torch.from_numpy, found), strict=True))


@pytest.mark.parametrize("name", ["plain_twins", "hasty_twins", "listening_twins"])
@pytest.mark.parametrize(
    "lengths", [(8, 7), (60,), (1,), (40, 0, 9, 1, 23), (0, 0)], ids=lambda x: "-".join(map(str, x))
)
@torch.no_grad()
def test_the_network_returns_what_the_model_does(
    name: str, lengths: tuple[int, ...], request: pytest.FixtureRequest
):
    model, folder = request.getfixturevalue(name)
    features, frames = noise(*lengths)
    hidden = model.encode(features, frames)
    expected = model.predictor(hidden, frames)
    logits = model.decode(expected, hidden, frames)
    found = run(folder, features, frames)
    assert tuple(found) == OUTPUTS
    assert torch.equal(found["counts"], expected.counts)
    assert torch.allclose(found["quantity"], expected.quantity, atol=1e-4)
    assert found["logits"].shape == (len(lengths), max(2, *expected.counts.tolist()), 40)
    for row, count in enumerate(expected.counts.tolist()):
        assert torch.allclose(found["logits"][row, :count], logits[row, :count], atol=1e-4)
        for times in ("starts", "ends"):
            wanted = getattr(expected, times)[row, :count]
            assert torch.allclose(found[times][row, :count].double(), wanted, atol=1e-4)


def test_some_have_tokens_and_some_have_none(plain_twins: Twins, hasty_twins: Twins):
    features, lengths = noise(40, 0, 9, 1, 23)
    few = run(plain_twins.folder, features, lengths)["counts"].tolist()
    many = run(hasty_twins.folder, features, lengths)["counts"].tolist()
    assert (few[1], few[3], many[1]) == (0, 0, 0)
    assert 3 < few[0] < many[0]


def check_same(found: list[Recognition], expected: list[Recognition]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert (one.tokens, one.text) == (other.tokens, other.text)
        assert one.quantity == pytest.approx(other.quantity, abs=1e-4)
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)
        assert torch.allclose(
            torch.tensor(one.token_times), torch.tensor(other.token_times), atol=1e-4
        )
        assert [w.word for w in one.words] == [w.word for w in other.words]


@pytest.mark.parametrize("name", ["plain_twins", "hasty_twins", "listening_twins"])
def test_sound_is_recognised_as_by_the_model(name: str, request: pytest.FixtureRequest):
    model, folder = request.getfixturevalue(name)
    generator = torch.Generator().manual_seed(0)
    wav = 0.1 * torch.randn(4, 48_000, generator=generator)
    lengths = torch.tensor([48_000, 20_123, 399, 400])
    expected = model.recognize(wav, lengths)
    assert len(expected[0].text) > 3
    exported = OnnxParaformer.from_folder(folder)
    check_same(exported.recognize(wav, lengths), expected)
    check_same(exported.recognize(wav), model.recognize(wav))
    features, frames = model.frontend(wav, lengths)
    check_same(exported.recognize(features, frames), expected)


def test_hot_words_are_preferred_as_by_the_model(plain_twins: Twins):
    model, exported = plain_twins.model, plain_twins.exported
    features, lengths = noise(40, 23)
    found = exported.recognize(
        features, lengths, hotwords=HotWords(["world=90"], exported.tokenizer)
    )
    expected = model.recognize(features, lengths, hotwords=HotWords(["world=90"], model.tokenizer))
    assert "world world" in expected[0].text
    check_same(found, expected)


def test_ngrams_go_along(tmp_path: Path):
    model = plain()
    size = len(model.tokenizer)
    draw = torch.Generator().manual_seed(0)
    said = [torch.randint(3, size, (12,), generator=draw).tolist() for _ in range(40)]
    model.fusion = Fusion(Ngrams.count(said, size, (1, 1, 1)), 1.5)
    export_onnx(model, tmp_path)
    features, lengths = noise(40, 23)
    expected = model.recognize(features, lengths)
    check_same(OnnxParaformer.from_folder(tmp_path).recognize(features, lengths), expected)
    assert expected[0].text != plain().recognize(features, lengths)[0].text


def test_what_is_no_sound_is_nothing_or_refused(plain_twins: Twins):
    exported = plain_twins.exported
    for sound in (torch.zeros(2, 399), torch.zeros(2, 0), torch.zeros(2, 0, 560)):
        assert exported.recognize(sound) == plain_twins.model.recognize(sound)
    assert exported.recognize(torch.zeros(0, 16_000)) == []
    with pytest.raises(ValueError, match="expected waveforms"):
        exported.recognize(torch.zeros(16_000))
    with pytest.raises(ValueError, match="lengths are"):
        exported.recognize(*noise(5)[:1], torch.tensor([6]))
    with pytest.raises(ValueError, match="NaN or infinity"):
        exported.recognize(torch.full((1, 16_000), torch.nan))
    with pytest.raises(ValueError, match="1800 s, expected at most 300 s: cut the recording"):
        exported.recognize(torch.zeros(1, 1, 560).expand(1, 30_000, 560))


def test_the_file_is_sound_and_tells_what_a_program_needs(plain_twins: Twins):
    model, folder = plain_twins
    network = onnx.load(folder / "model.onnx")
    onnx.checker.check_model(network, full_check=True)
    assert [(x.domain, x.version) for x in network.opset_import] == [("", 18)]
    axes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*network.graph.input, *network.graph.output)
    }
    assert axes == {
        "features": ["batch", "frames", 560],
        "lengths": ["batch"],
        "logits": ["batch", "tokens", 40],
        "counts": ["batch"],
        "quantity": ["batch"],
        "starts": ["batch", "tokens"],
        "ends": ["batch", "tokens"],
    }
    told = {entry.key: entry.value for entry in network.metadata_props}
    assert told == metadata_of(model)
    assert (told["sample_rate"], told["lfr_m"], told["lfr_n"]) == ("16000", "7", "6")
    assert json.loads(told["cmvn_shift"]) == model.frontend.cmvn.shift.tolist()
    # Neither loops nor operators of others, and no folder of the machine that exported it.
    assert {node.domain for node in network.graph.node} == {""}
    assert not {"Loop", "Scan", "If"} & {node.op_type for node in network.graph.node}
    assert str(ROOT).encode() not in (folder / "model.onnx").read_bytes()


def test_the_folder_holds_settings_and_vocabulary(plain_twins: Twins):
    model, folder = plain_twins
    assert {p.name for p in folder.iterdir()} == {"model.onnx", "config.json", "tokens.json"}
    exported = plain_twins.exported
    assert exported.config == model.config
    assert exported.tokenizer.tokens == model.tokenizer.tokens
    assert json.loads((folder / "config.json").read_text())["description"] == "a test"


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path):
    (tmp_path / "diary").write_text("dear diary")
    with pytest.raises(FileExistsError, match="is not empty: give a new folder"):
        export_onnx(plain(), tmp_path)
    with pytest.raises(FileExistsError, match="is a file: give a new folder"):
        export_onnx(plain(), tmp_path / "diary", overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["diary"]


@pytest.mark.parametrize("kind", ["pif", "ctc"])
def test_other_predictors_are_refused(kind: Any, tmp_path: Path):
    config = dataclasses.replace(
        plain().config,
        predictor=PredictorConfig(kind=kind),
        objective=ObjectiveConfig(ctc=0.3),
        end_token=False,
    )
    model = Paraformer(config, plain().tokenizer).train()
    with pytest.raises(CheckpointError, match=f"predictor is '{kind}': only models with"):
        export_onnx(model, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert model.training


@pytest.mark.parametrize("kind", ["bfloat16", "float32"])
def test_a_model_that_was_turned_to_inference_is_refused(kind: str, tmp_path: Path):
    model = plain().to_inference(device=torch.device("cpu"), dtype=kind)
    with pytest.raises(CheckpointError, match=f"inference in {kind}: load it again to export"):
        export_onnx(model, tmp_path / "new")
    with pytest.raises(CheckpointError, match=f"inference in {kind}: load it again to save"):
        model.save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_operator_set_that_is_too_old_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="opset is 17, expected 18 or later"):
        export_onnx(plain(), tmp_path, opset=17)


def test_what_is_missing_is_named(copy: Path, monkeypatch: pytest.MonkeyPatch):
    for name, use in (
        ("onnxruntime", lambda: OnnxParaformer.from_folder(copy)),
        ("onnxscript", lambda: export_onnx(plain(), copy, overwrite=True)),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            with pytest.raises(ImportError, match=rf"^{name} is missing: pip install 'echoic\[o"):
                use()
    (copy / "tokens.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no tokens\.json"):
        OnnxParaformer.from_folder(copy)
    (copy / "model.onnx").unlink()
    with pytest.raises(CheckpointError, match=r"has no model\.onnx; make it by: echoic export on"):
        OnnxParaformer.from_folder(copy)


def relabel(folder: Path, **changes: str) -> None:
    network = onnx.load(folder / "model.onnx")
    told = {entry.key: entry.value for entry in network.metadata_props}
    onnx.helper.set_model_props(network, told | changes)
    onnx.save(network, folder / "model.onnx")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format_version": "2"}, "echoic-paraformer 2, expected echoic-paraformer 1: make it by"),
        ({"format": "else"}, "else 1, expected"),
        ({"cmvn_shift": "[0, 1"}, "does not tell how features are normalised"),
        ({"cmvn_scale": "[0.5, 1]"}, r"normalises \(560,\) and \(2,\) features"),
    ],
)
def test_another_format_is_refused(changes: dict[str, str], words: str, copy: Path):
    relabel(copy, **changes)
    with pytest.raises(CheckpointError, match=rf"model\.onnx: .*{words}"):
        OnnxParaformer.from_folder(copy)


def test_a_damaged_network_is_named(copy: Path):
    path = copy / "model.onnx"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"model\.onnx is damaged or no ONNX file"):
        OnnxParaformer.from_folder(copy)


def test_the_network_of_another_model_is_named(copy: Path):
    config = dataclasses.replace(plain().config, vocab_size=41)
    save_settings(config, Tokenizer(tokens_of(41)), copy)
    with pytest.raises(
        CheckpointError, match=r"scores 40 tokens, config\.json has 41; they do not"
    ):
        OnnxParaformer.from_folder(copy)
    network = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[N] x) => (float[N] y) { y = Neg(x) }'
    )
    onnx.save(network, copy / "model.onnx")
    with pytest.raises(CheckpointError, match=r"model\.onnx: it takes x and returns y, expected"):
        OnnxParaformer.from_folder(copy)
