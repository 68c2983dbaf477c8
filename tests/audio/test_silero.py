import math
import os
import subprocess
import sys
import warnings
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor

from echoic.audio.silero import FRAME_SIZE, SileroVad, VadState

DATA = Path(__file__).parents[1] / "data"


def speech(number: str = "0880") -> Tensor:
    samples, rate = soundfile.read(DATA / f"sense-and-sensibility-{number}.opus", dtype="float32")
    assert rate == 16000
    return torch.from_numpy(samples)


@pytest.fixture(scope="module")
def model() -> SileroVad:
    return SileroVad.from_installed()


@pytest.fixture(scope="module")
def upstream() -> torch.jit.ScriptModule:
    spec = find_spec("silero_vad")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.load(f"{spec.submodule_search_locations[0]}/data/silero_vad.jit")


@pytest.mark.parametrize("number", ["0870", "0880", "0890", "0920", "0930"])
def test_equals_the_torchscript_model_on_speech(model, upstream, number):
    wav = speech(number)
    upstream.reset_states()
    with torch.no_grad():
        expected = upstream.audio_forward(wav[None], 16000)[0]
    ours = model.probabilities(wav)
    assert ours.shape == (math.ceil(wav.numel() / FRAME_SIZE),) == expected.shape
    assert expected.max() > 0.9  # there is speech to agree on
    torch.testing.assert_close(ours, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("seed", range(4))
def test_any_split_gives_the_same_probabilities(model, seed):
    wav = speech()[None]
    generator = torch.Generator().manual_seed(seed)
    state, parts, at = model.initial_state(1), [], 0
    while at < wav.shape[1]:
        size = int(torch.randint(0, (3, 700, 2000, 20000)[seed] * 2, (1,), generator=generator))
        state, p = model.step(state, wav[:, at : at + size])
        parts.append(p)
        at += size
        if seed == 0 and at > 3000:  # single samples are slow: three chunks of them suffice
            break
    if seed == 0:
        wav = wav[:, :at]
    parts.append(model.finish(state)[1])
    torch.testing.assert_close(torch.cat(parts, 1), model(wav), atol=1e-5, rtol=1e-5)


def test_blocks_of_long_audio_equal_one_pass(model, monkeypatch):
    wav = torch.cat([speech("0870"), speech("0920")])
    whole = model.probabilities(wav)
    monkeypatch.setattr("echoic.audio.silero._BLOCK_FRAMES", 7)
    torch.testing.assert_close(model.probabilities(wav), whole, atol=1e-5, rtol=1e-5)


def test_rows_of_a_batch_do_not_see_each_other(model):
    wavs = [speech(n)[:40000] for n in ("0870", "0890", "0930")]
    together = model.probabilities(torch.stack(wavs))
    for row, wav in zip(together, wavs, strict=True):
        torch.testing.assert_close(row, model.probabilities(wav), atol=1e-5, rtol=1e-5)


def test_states_of_a_batch_can_be_taken_apart(model):
    wavs = torch.stack([speech("0870")[:30000], speech("0890")[:30000]])
    state, _ = model.step(model.initial_state(2), wavs[:, :10100])
    rows = [getattr(state, f.name)[1:] for f in fields(state)]
    _, alone = model.step(VadState(*rows), wavs[1:, 10100:])
    _, together = model.step(state, wavs[:, 10100:])
    torch.testing.assert_close(alone[0], together[1], atol=1e-5, rtol=1e-5)


def test_step_leaves_its_arguments_alone(model):
    wav = speech()[None, :5000].clone()
    state, _ = model.step(model.initial_state(1), wav[:, :1000])
    kept = [getattr(state, f.name).clone() for f in fields(state)]
    first = model.step(state, wav[:, 1000:])[1].clone()
    wav[:, :1000] = 0.5  # the caller reuses its buffer
    assert all(
        torch.equal(getattr(state, f.name), k) for f, k in zip(fields(state), kept, strict=True)
    )
    assert torch.equal(model.step(state, wav[:, 1000:])[1], first)


def test_a_chunk_depends_on_nothing_after_it(model):
    wav = speech()[None, :8000].clone().requires_grad_()
    probabilities = model(wav)
    (gradient,) = torch.autograd.grad(probabilities[0, 9], wav)
    assert gradient[0, : 10 * FRAME_SIZE].abs().max() > 0
    assert gradient[0, 10 * FRAME_SIZE :].abs().max() == 0


def test_state_does_not_grow(model):
    state = model.initial_state(1)
    sizes = set()
    for _ in range(5):
        state, _ = model.step(state, torch.zeros(1, 5 * FRAME_SIZE + 100)[:, : 5 * FRAME_SIZE])
        sizes.add(sum(getattr(state, f.name).untyped_storage().nbytes() for f in fields(state)))
    assert sizes == {(64 + 128 + 128) * 4}


def test_empty_input_gives_nothing(model):
    state = model.initial_state(3)
    same, p = model.step(state, torch.zeros(3, 0))
    assert p.shape == (3, 0)
    assert torch.equal(same.hidden, state.hidden)
    assert model.finish(same)[1].shape == (3, 0)


def test_partial_chunk_is_filled_with_zeros(model):
    wav = speech()[:20100]
    padded = torch.nn.functional.pad(wav, (0, -20100 % FRAME_SIZE))
    torch.testing.assert_close(model.probabilities(wav), model.probabilities(padded))


def test_wrong_audio_is_refused(model):
    state = model.initial_state(1)
    with pytest.raises(ValueError, match=r"\(2, 512\).*expected \(1, samples\)"):
        model.step(state, torch.zeros(2, 512))
    with pytest.raises(TypeError, match=r"int16.*divide"):
        model.step(state, torch.zeros(1, 512, dtype=torch.int16))
    with pytest.raises(ValueError, match="batch_size is 0"):
        model.initial_state(0)


def test_missing_package_says_how_to_mend_it(monkeypatch):
    monkeypatch.setattr("echoic.audio.silero.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'silero-vad>=6\.2'"):
        SileroVad.from_installed()


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.jit.*pip install"):
        SileroVad.from_torchscript(tmp_path / "nothing.jit")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "other.jit")
    with pytest.raises(ValueError, match=r"other\.jit does not hold"):
        SileroVad.from_torchscript(tmp_path / "other.jit")


def test_threads_stay_as_they_are():
    code = (
        "import sys, torch; torch.set_num_threads(3)\n"
        "from echoic.audio.vad import speech_segments\n"
        "assert list(speech_segments(torch.zeros(9000))) == []\n"
        "assert torch.get_num_threads() == 3, torch.get_num_threads()\n"
        "assert 'silero_vad' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"LC_ALL": "C"})
