"""Streams of the flow: the same as whole utterances, each spectrum worked on once."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_flow import FORM, codes, flow_decoder, flow_model, flow_speech, mel_decoder, vocoder
from tiny_codec import tiny_codec
from torch import Tensor

from echoic.codecs.weights import weights_hash
from echoic.streaming.module import run_streamed
from echoic.tts.errors import TtsError
from echoic.tts.flow import MelDecoder, Prompt, SolverConfig
from echoic.tts.flow.solver import generate


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(
    frames=st.integers(0, 30),
    chunk=st.integers(1, 7),
    look_back=st.sampled_from([None, 0, 6]),
    guidance=st.sampled_from([0.0, 0.7]),
    cuts=st.lists(st.integers(0, 9), max_size=12),
)
def test_streamed_is_what_the_mask_gives_in_one_pass(
    frames: int, chunk: int, look_back: int | None, guidance: float, cuts: list[int]
) -> None:
    decoder = mel_decoder(chunk, look_back=look_back, guidance=guidance)
    own = codes(frames, rows=2)
    expected = generate(decoder.model, own, decoder.solver, chunk=chunk)
    found = run_streamed(decoder, own, cuts)
    assert found.shape == (2, 2 * frames, 6)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_rows_of_a_batch_do_not_know_each_other() -> None:
    model, solver = flow_model(), SolverConfig(2)
    own, lengths = codes(11, rows=3), torch.tensor([11, 4, 7])
    for chunk in (None, 3):
        together = generate(model, own, solver, chunk=chunk, lengths=lengths)
        for row, length in enumerate(lengths.tolist()):
            alone = generate(model, own[row : row + 1, :, :length], solver, chunk=chunk)
            torch.testing.assert_close(together[row, : 2 * length], alone[0], atol=1e-5, rtol=1e-4)


def seen_positions(decoder: MelDecoder, own: Tensor, cuts: Sequence[int]) -> int:
    """How many positions the backbone reads, those of all steps and branches."""
    seen = 0

    def count(module: torch.nn.Module, args: tuple[Tensor, ...]) -> None:
        nonlocal seen
        seen += args[0].shape[0] * args[0].shape[1]

    hook = decoder.model.backbone.register_forward_pre_hook(count)
    try:
        run_streamed(decoder, own, cuts)
    finally:
        hook.remove()
    return seen


@pytest.mark.parametrize("frames", [12, 50, 100])
def test_each_spectrum_is_worked_on_once_in_each_step(frames: int) -> None:
    decoder = mel_decoder(chunk=4)
    branches, steps, ratio = 2, 2, 2
    for cuts in ([1] * frames, [frames], [7] * 20):
        assert seen_positions(decoder, codes(frames), cuts) == branches * steps * ratio * frames


def test_sound_depends_on_no_code_beyond_the_lookahead() -> None:
    decoder = flow_decoder(chunk=3)
    own, other = codes(40), codes(40, seed=1)
    cut = 26
    whole = run_streamed(decoder, own, [])
    changed = run_streamed(decoder, torch.cat([own[..., :cut], other[..., cut:]], -1), [])
    # 24 frames make whole chunks, of which the last needs codes 24 and 25; of their 768 samples
    # the transform holds back those that the next spectra overlap.
    same = (whole == changed).all(0)
    settled = 8 * decoder.output_size - vocoder().lookahead * 16
    assert bool(same[:settled].all())
    assert not bool(same[settled + 3 * 16 :].all())
    state = decoder.initial_state(1)
    state, early = decoder.step(state, own[..., : cut - 1])
    state, late = decoder.step(state, own[..., cut - 1 : cut])
    assert early.shape[1] < late.shape[1] + early.shape[1] >= settled


def test_chunks_are_each_decoders_own() -> None:
    first, second = mel_decoder(3), mel_decoder(5)
    assert first.model is second.model
    own = codes(20)
    expected = [run_streamed(decoder, own, []) for decoder in (first, second)]
    assert not torch.allclose(*expected, atol=1e-3)
    states = [decoder.initial_state(1) for decoder in (first, second)]
    found: list[list[Tensor]] = [[], []]
    for part in own.split(4, dim=2):
        for number, decoder in enumerate((first, second)):
            states[number], mels = decoder.step(states[number], part)
            found[number].append(mels)
    for number, decoder in enumerate((first, second)):
        found[number].append(decoder.finish(states[number])[1])
        torch.testing.assert_close(torch.cat(found[number], 1), expected[number])


def test_a_stream_goes_on_from_a_prompt() -> None:
    model, own = flow_model(), codes(19)
    prompt = Prompt(codes(11, seed=2)[0], torch.randn(22, 6))
    decoder = MelDecoder(model, SolverConfig(2), 3, prompt=prompt)
    found = run_streamed(decoder, own, [1, 5, 2])
    assert found.shape == (1, 38, 6)
    kept = prompt.whole(3, 2)
    assert kept.codes.shape == (2, 9)
    together = torch.cat([kept.codes[None], own], dim=2)
    expected = generate(model, together, SolverConfig(2), chunk=3, prompt=kept)[:, 18:]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    without = run_streamed(MelDecoder(model, SolverConfig(2), 3), own, [])
    assert not torch.allclose(found, without, atol=1e-2)
    other = MelDecoder(model, SolverConfig(2), 3, prompt=prompt._replace(mels=prompt.mels + 1))
    assert not torch.allclose(run_streamed(other, own, []), found, atol=1e-2)


def test_speakers_and_seeds_differ() -> None:
    model, own = flow_model(speaker_dim=3), codes(8)

    def speak(speaker: Tensor | None, seed: int = 0) -> Tensor:
        return run_streamed(
            MelDecoder(model, SolverConfig(2, seed=seed), 3, speaker=speaker), own, []
        )

    one = speak(torch.ones(3))
    assert torch.equal(speak(torch.ones(3)), one)
    assert not torch.allclose(speak(-torch.ones(3)), one, atol=1e-2)
    assert not torch.allclose(speak(torch.ones(3), seed=1), one, atol=1e-2)
    torch.testing.assert_close(speak(None), speak(torch.zeros(3)))


def test_it_has_a_codecs_face() -> None:
    speech = flow_speech()
    decoder = speech.streaming_decoder(FORM.num_codebooks + 3)
    assert (decoder.sample_rate, speech.sample_rate) == (1600, 1600)
    assert speech.device == torch.device("cpu")
    own = torch.cat([codes(10), codes(10, seed=5)], dim=1)
    state = decoder.initial_state(1, device=speech.device)
    parts = []
    for part in own.split(1, dim=2):
        state, wav = decoder.step(state, part)
        parts.append(wav)
    parts.append(decoder.finish(state)[1])
    wav = torch.cat(parts, dim=1)
    assert wav.shape == (1, 10 * 32)
    torch.testing.assert_close(wav, decoder(own[:, :2]), atol=1e-4, rtol=0)
    assert parts[0].shape[1] == parts[3].shape[1] == 0
    assert parts[4].shape[1] > 0, "chunk and look-ahead are there"
    whole = speech.decode(own, torch.tensor([7]))
    assert whole.shape == (1, 320)
    assert bool(whole[:, :224].any())
    assert not whole[:, 224:].any()


def test_what_cannot_be_decoded() -> None:
    model, solver = flow_model(speaker_dim=3), SolverConfig(2)
    with pytest.raises(ValueError, match="chunks of 0 frames"):
        MelDecoder(model, solver, 0)
    with pytest.raises(ValueError, match=r"vector of shape \(2,\), expected \(3,\)"):
        MelDecoder(model, solver, 3, speaker=torch.ones(2))
    short = Prompt(codes(2)[0], torch.zeros(4, 6))
    with pytest.raises(ValueError, match="a prompt of 2 frames of codes, expected a chunk of 3"):
        MelDecoder(model, solver, 3, prompt=short)
    with pytest.raises(ValueError, match="2 frames of codes and 3 spectra, expected 2 for each"):
        MelDecoder(model, solver, 1, prompt=short._replace(mels=torch.zeros(3, 6)))
    with pytest.raises(ValueError, match="n_q is 1, expected 2 or more"):
        flow_speech().streaming_decoder(1)
    decoder = flow_decoder()
    with pytest.raises(ValueError, match="codes from 12 to 12"):
        decoder.step(decoder.initial_state(1), torch.full((1, 2, 1), 12))
    with pytest.raises(ValueError, match="steps 0, guidance"):
        SolverConfig(0)
    codec = tiny_codec()
    flow_speech(weights_hash(codec)).fits(codec)
    with pytest.raises(TtsError, match="train it on this codec's"):
        flow_speech().fits(codec)
