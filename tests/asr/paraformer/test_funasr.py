"""Our model against FunASR itself, on the same random weights; the extra `bench` has it."""

# pyright: reportMissingImports=false

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from paraformer_files import ours, random_features, settings, write_folder
from paraformer_oracle import Sizes, draw
from speech_data import novel
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.sanm import length_mask
from echoic.asr.upstream.paraformer import load_upstream

pytest.importorskip("funasr", reason="the rival is not installed")

SIZES = Sizes(dim=64, layers=4, ffn=96, vocab=60, cross=3, plain=2, heads=4, kernel=11)
STILL = {
    "encoder_conf": {"dropout_rate": 0.0},
    "decoder_conf": {"dropout_rate": 0.0},
    "predictor_conf": {"dropout": 0.0},
}


def theirs(sizes: Sizes, **model_conf: Any) -> Any:
    import funasr.models.paraformer.cif_predictor
    import funasr.models.paraformer.decoder
    import funasr.models.sanm.encoder  # noqa: F401  (each enters its classes in a registry)
    from funasr.models.paraformer.model import Paraformer as Rival

    values = settings(sizes)
    parts = ("encoder", "decoder", "predictor")
    rival = Rival(
        **{name: values[name] for name in parts},
        **{f"{name}_conf": values[f"{name}_conf"] | STILL[f"{name}_conf"] for name in parts},
        **(values["model_conf"] | model_conf),
        input_size=560,
        vocab_size=sizes.vocab,
    )
    rival.load_state_dict(draw(sizes), strict=True)
    return rival.eval()


def still(tmp_path: Path, sizes: Sizes, **model_conf: Any) -> Paraformer:
    return ours(tmp_path, sizes, changes={**STILL, "model_conf": model_conf})


@torch.no_grad()
@pytest.mark.parametrize("depthwise", [False, True])
def test_every_stage_is_theirs(tmp_path: Path, depthwise: bool):
    sizes = SIZES._replace(depthwise=depthwise)
    model, rival = still(tmp_path, sizes), theirs(sizes)
    for frames in (5, 33, 170):
        (x,) = random_features(frames, seed=frames)
        n = torch.tensor([frames])
        encoded, lengths = rival.encode(x[None], n)
        tokens, count, weights, _ = rival.calc_predictor(encoded, lengths)[:4]
        count = count.round().long()
        log_probs, _ = rival.cal_decoder_with_predictor(encoded, lengths, tokens, count)
        hidden = model.encode(x[None], n)
        found = model.predictor(hidden, n)
        assert torch.allclose(hidden, encoded, atol=1e-5)
        assert torch.allclose(found.weights[0], weights[0, :frames], atol=1e-6)
        assert found.counts.tolist() == count.tolist()
        assert torch.allclose(found.tokens, tokens, atol=1e-4)
        mine = model.decode(found, hidden, n).log_softmax(-1)
        assert torch.allclose(mine, log_probs, atol=1e-4)
        assert torch.equal(mine.argmax(-1), log_probs.argmax(-1))


@torch.no_grad()
def test_in_a_batch_only_compat_is_theirs(tmp_path: Path):
    model, rival = still(tmp_path, SIZES), theirs(SIZES)
    xs = random_features(60, 31)
    x, n = pad_sequence(xs, batch_first=True), torch.tensor([60, 31])
    encoded, lengths = rival.encode(x, n)
    weights = rival.calc_predictor(encoded, lengths)[2][:, :60]
    clean = model.predictor(model.encode(x, n), n).weights
    model.config = dataclasses.replace(model.config, compat=True)
    hidden = model.encode(x, n)
    leaking = model.predictor(hidden, n)
    # They count the tail among the weights: it stands behind the last frame.
    weights[1, 31] = 0
    assert torch.allclose(leaking.weights, weights, atol=1e-6)
    assert not torch.allclose(clean, weights, atol=1e-4)
    tokens, count = rival.calc_predictor(encoded, lengths)[:2]
    log_probs, _ = rival.cal_decoder_with_predictor(encoded, lengths, tokens, count.round().long())
    mine = model.decode(leaking, hidden, n).log_softmax(-1)
    for row, k in enumerate(leaking.counts.tolist()):
        assert torch.allclose(mine[row, :k], log_probs[row, :k], atol=1e-4)


def kept(model: Paraformer, rival: Any, labels: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Features of which they lose no last token, as rounding makes them do in many batches."""
    n = torch.tensor([60, 31])
    masks = (torch.arange(60) < n[:, None])[:, None]
    for seed in range(40):
        x = pad_sequence(random_features(60, 31, seed=seed), batch_first=True)
        done = model.teach(x, n, labels, counts)
        padded = torch.where(length_mask(done.lengths, done.labels.shape[1]), done.labels, -1)
        tokens = rival.predictor(rival.encode(x, n)[0], padded, masks, ignore_id=-1)[0]
        if torch.allclose(tokens, done.prediction.tokens, atol=1e-4):
            return x, n
    raise AssertionError("they lost a token each time")


@pytest.mark.parametrize(("ratio", "ctc"), [(0.0, 0.0), (1.0, 0.0), (0.0, 0.3)])
def test_the_loss_is_theirs(tmp_path: Path, ratio: float, ctc: float):
    # All labels are ones that no first guess is: with the ratio 1 each of them is mixed in.
    sizes = SIZES._replace(ctc=ctc > 0)
    model, rival = still(tmp_path, sizes, sampling_ratio=ratio), theirs(sizes, sampling_ratio=ratio)
    model.config = dataclasses.replace(model.config, compat=True)
    labels = torch.tensor([[5, 6, 7, 8, 9, 10, 11], [12, 13, 14, -1, -1, -1, -1]])
    counts = torch.tensor([7, 3])
    model.train()
    rival.train()
    x, n = kept(model, rival, labels, counts)
    with torch.no_grad():
        guesses = model.teach(x, n, labels, counts).guesses
    free = sorted(set(range(3, sizes.vocab)) - set(guesses.flatten().tolist()))
    labels = torch.where(labels >= 0, torch.tensor(free)[labels.clamp(min=0)], -1)
    losses = model(x, n, labels, counts)
    loss, stats, _ = rival(x, n, labels, counts)
    assert losses.total.item() == pytest.approx(loss.item(), rel=1e-4)
    assert losses.accuracy.item() == pytest.approx(float(stats["acc"]), abs=1e-6)


def test_the_sampler_takes_as_many_labels(tmp_path: Path):
    rival = theirs(SIZES, sampling_ratio=0.75)
    model = still(tmp_path, SIZES, sampling_ratio=0.75).train()
    (x,) = random_features(80)
    n, labels, counts = torch.tensor([80]), torch.tensor([[*range(3, 20)]]), torch.tensor([17])
    done = model.teach(x[None], n, labels, counts)
    with torch.no_grad():
        embedded = model.decoder.embed(done.labels)
        encoded, lengths = rival.encode(x[None], n)
        ys = torch.tensor([[*range(3, 20), 2]])
        mask = torch.ones(1, 1, 80)
        tokens = rival.predictor(encoded, ys, mask, ignore_id=-1)[0]
        mixed = rival.sampler(encoded, lengths, ys, torch.tensor([18]), tokens)[0]
    replaced = (mixed == embedded).all(-1).sum().item()
    wrong = (done.guesses != done.labels).sum().item()
    assert replaced == int(wrong * 0.75)


def test_the_whole_way_from_sound_to_text(tmp_path: Path):
    from funasr import AutoModel

    folder = write_folder(tmp_path / "model", SIZES, changes=STILL)
    rival = AutoModel(
        model=str(folder), device="cpu", disable_update=True, disable_pbar=True, log_level="ERROR"
    )
    model = ours(tmp_path / "again", SIZES, changes=STILL)
    for wav in [utterance.wav for utterance in novel()[:3]]:
        (heard,) = rival.generate(input=wav.numpy())
        (found,) = model.recognize(wav[None])
        assert len(found.tokens) > 5
        assert found.text.replace(" ", "") == heard["text"].replace(" ", "")


def bicif() -> tuple[dict[str, Any], dict[str, torch.Tensor], Any]:
    """Their main model, whose predictor also has a head for times: settings, weights, model."""
    import funasr.models.bicif_paraformer.cif_predictor  # noqa: F401
    from funasr.models.bicif_paraformer.model import BiCifParaformer

    theirs(SIZES)
    head = {
        "smooth_factor2": 0.25,
        "noise_threshold2": 0.01,
        "upsample_times": 3,
        "use_cif1_cnn": False,
        "upsample_type": "cnn_blstm",
    }
    values = settings(SIZES)
    values["predictor"] = "CifPredictorV3"
    values["predictor_conf"] |= head
    parts = ("encoder", "decoder", "predictor")
    rival = BiCifParaformer(
        **{name: values[name] for name in parts},
        **{f"{name}_conf": values[f"{name}_conf"] for name in parts},
        **values["model_conf"],
        input_size=560,
        vocab_size=SIZES.vocab,
    ).eval()
    changes = {"model": "BiCifParaformer", "predictor": "CifPredictorV3", "predictor_conf": head}
    return changes, rival.state_dict(), rival


@torch.no_grad()
def test_their_main_model_comes_without_its_head_for_times(tmp_path: Path):
    changes, state, rival = bicif()
    folder = write_folder(tmp_path / "bicif", SIZES, changes=changes, state=state)
    model, left_out = load_upstream(folder)
    assert left_out == ("the head for times",)
    x, n = random_features(90)[0][None], torch.tensor([90])
    encoded, lengths = rival.encode(x, n)
    tokens, count = rival.calc_predictor(encoded, lengths)[:2]
    log_probs = rival.cal_decoder_with_predictor(encoded, lengths, tokens, count.round().long())[0]
    hidden = model.encode(x, n)
    mine = model.decode(model.predictor(hidden, n), hidden, n).log_softmax(-1)
    assert mine.shape[1] > 5
    assert torch.allclose(mine, log_probs, atol=1e-4)
