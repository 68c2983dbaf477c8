"""The model of a recipe, and what it starts from."""

import json
from pathlib import Path

import pytest
import torch
from paraformer_runs import MODEL, short_ones, task, write_vocabulary

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.config import FrontendConfig
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.presets import preset
from echoic.asr.paraformer.training.build import model_config, read_statistics


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    return write_vocabulary(tmp_path / "vocabulary")


def saved(vocabulary: Path, folder: Path) -> Paraformer:
    model = task(vocabulary).model
    model.save_pretrained(folder)
    return model


def test_presets_and_what_differs_from_them() -> None:
    tiny = model_config({"preset": "tiny", "encoder": {"layers": "2"}}, 300)
    assert tiny.encoder.layers == 2
    assert tiny.encoder.dim == preset("tiny", 300).encoder.dim == 192
    assert model_config({}, 300).encoder.layers == 50
    with pytest.raises(CheckpointError, match=r"encoder of config\.json has 'depth'"):
        model_config({"encoder": {"depth": 2}}, 300)
    with pytest.raises(CheckpointError, match="vocab_size is 5 in the recipe"):
        model_config({"vocab_size": 5}, 300)
    with pytest.raises(ValueError, match="no size 'huge'"):
        model_config({"preset": "huge"}, 300)


def test_features_have_mean_0_and_deviation_1(vocabulary: Path) -> None:
    model = task(vocabulary).model
    frames = torch.cat([model.frontend(u.wav[None])[0][0] for u in short_ones()])
    assert float(frames.mean(0).abs().max()) < 1e-2
    assert float((frames.std(0) - 1).abs().max()) < 1e-2


def test_statistics_that_are_none(vocabulary: Path, tmp_path: Path) -> None:
    path = vocabulary / "cmvn.json"
    good = json.loads(path.read_text())
    bad = tmp_path / "bad.json"
    for change, message in (
        ({"lfr_m": 5}, "has lfr_m 5, the model 7; make it with"),
        ({"mean": good["mean"][:80]}, r"has \(80,\) values"),
        ({"std": ["x"]}, "holds no feature statistics"),
    ):
        bad.write_text(json.dumps(good | change))
        with pytest.raises(CheckpointError, match=message):
            read_statistics(bad, FrontendConfig())
    with pytest.raises(CheckpointError, match=r"gone\.json holds no feature statistics"):
        read_statistics(tmp_path / "gone.json", FrontendConfig())


def test_what_a_run_needs(vocabulary: Path) -> None:
    with pytest.raises(ValueError, match=r"no vocabulary: name one made by .*prepare\.vocabulary"):
        task(vocabulary, vocabulary=None)
    with pytest.raises(ValueError, match=r"no cmvn: name one made by .*prepare\.cmvn`"):
        task(vocabulary, cmvn=None)


def test_goes_on_from_a_model(vocabulary: Path, tmp_path: Path) -> None:
    start = saved(vocabulary, tmp_path / "start")
    alone = {"model": None, "vocabulary": None, "cmvn": None}
    module = task(vocabulary, init_from=str(tmp_path / "start"), **alone)
    assert module.model.config == start.config
    for name, value in start.state_dict().items():
        assert torch.equal(module.model.state_dict()[name], value)
    assert module.model.training


def test_another_vocabulary_starts_its_rows_anew(vocabulary: Path, tmp_path: Path) -> None:
    start = saved(vocabulary, tmp_path / "start").state_dict()
    other = write_vocabulary(tmp_path / "other", short_ones(3))
    model = task(other, init_from=str(tmp_path / "start"), cmvn=None).model
    assert (
        model.decoder.embed.weight.shape[0] == len(model.tokenizer) < len(start["ctc.output.bias"])
    )
    kept = {name for name, value in model.state_dict().items() if value.shape == start[name].shape
            and torch.equal(value, start[name])}  # fmt: skip
    anew = set(start) - kept
    assert anew == {n for n in start if n.startswith(("decoder.embed", "decoder.output", "ctc."))}


def test_other_sizes_do_not_fit(vocabulary: Path, tmp_path: Path) -> None:
    saved(vocabulary, tmp_path / "start")
    wider = MODEL | {"encoder": MODEL["encoder"] | {"ffn_dim": 48}}
    with pytest.raises(CheckpointError, match="does not fit the model to train: encoder"):
        task(vocabulary, model=wider, init_from=str(tmp_path / "start"))
    with pytest.raises(CheckpointError, match=r"gone\.ckpt is not there"):
        task(vocabulary, init_from="gone.ckpt")
