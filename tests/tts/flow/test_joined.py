"""A talker whose codes a flow makes into sound."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_talker import small_talker

from echoic.tts.errors import TtsError
from echoic.tts.flow.config import FlowConfig, SolverConfig
from echoic.tts.flow.model import FlowModel
from echoic.tts.flow.speech import FlowSettings, FlowSpeech
from echoic.tts.flow.vocoder import Vocoder, VocoderConfig
from echoic.tts.lm.config import TransformerConfig
from echoic.tts.packets import PacketSchedule
from echoic.tts.synthesizer import Synthesizer
from echoic.tts.talker import Talker


def flow_for(talker: Talker, chunk: int = 5) -> FlowSpeech:
    frames = talker.model.config.frames
    backbone = TransformerConfig(16, 32, 1, 2, 2, qk_norm=False, qkv_bias=True)
    config = FlowConfig(frames, backbone=backbone, condition_dim=8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        flow = FlowModel(config).eval()
        vocoder = Vocoder(VocoderConfig(config.mels, width=8, blocks=1)).eval()
    settings = FlowSettings(talker.settings.codec_hash, chunk, SolverConfig(steps=2, guidance=0.0))
    return FlowSpeech(flow, vocoder, settings)


def joined(chunk: int = 5) -> Talker:
    plain = small_talker()
    return Talker(
        plain.model, plain.codec, plain.alphabet, plain.settings, flow=flow_for(plain, chunk)
    )


def test_streamed_sound_is_the_flows_and_lasts_as_long_as_the_codecs() -> None:
    talker = joined()
    whole = Synthesizer(talker).speak("Hello there. You!")
    plain = Synthesizer(small_talker()).speak("Hello there. You!")
    assert abs(len(whole.wav) - len(plain.wav)) <= 2 * talker.codec.hop_length
    assert not torch.allclose(whole.wav[:1000], plain.wav[:1000])
    parts = Synthesizer(talker, PacketSchedule(largest=3))
    chunks = [chunk.wav for chunk in parts.stream("Hello there. You!")]
    torch.testing.assert_close(torch.cat(chunks), whole.wav, atol=1e-4, rtol=1e-3)


def test_it_is_kept_inside_of_the_talkers_folder(tmp_path: Path) -> None:
    talker = joined()
    talker.save_pretrained(tmp_path / "t")
    read = Talker.from_pretrained(tmp_path / "t", arithmetic="float32")
    assert read.flow is not None
    said = Synthesizer(talker).speak("Hello.").wav
    torch.testing.assert_close(Synthesizer(read).speak("Hello.").wav, said)
    small_talker().save_pretrained(tmp_path / "plain")
    flow = tmp_path / "t" / "flow"
    other = Talker.from_pretrained(tmp_path / "plain", flow=flow, arithmetic="float32")
    torch.testing.assert_close(Synthesizer(other).speak("Hello.").wav, said)


def test_a_flow_of_other_codes_is_refused() -> None:
    plain = small_talker()
    flow = flow_for(plain)
    flow.settings = replace(flow.settings, codec_hash="another")
    with pytest.raises(TtsError, match="train it on this codec's"):
        Talker(plain.model, plain.codec, plain.alphabet, plain.settings, flow=flow)
