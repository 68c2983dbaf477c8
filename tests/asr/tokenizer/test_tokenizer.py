"""A speech tokenizer: who sees whom, what is heard when, and the parts of its folder."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from small_tokenizer import CONFIG, SIZES, murmur, small_model, small_tokenizer, whisper_folder
from torch import Tensor
from vq_brute_force import assert_best
from whisper_factory import random_state

from echoic.asr.errors import CheckpointError
from echoic.asr.tokenizer.book import Book, book_of, check_quantizer
from echoic.asr.tokenizer.config import TokenizerConfig
from echoic.asr.tokenizer.files import WEIGHTS, is_tokenizer, save_tokenizer
from echoic.asr.tokenizer.front import Front
from echoic.asr.tokenizer.model import Back, TokenizerModel
from echoic.asr.tokenizer.recognizer import CodeRecognizer
from echoic.asr.tokenizer.tokenizer import SpeechTokenizer
from echoic.asr.whisper.checkpoint import load_checkpoint
from echoic.codecs.quantize.config import QuantizerConfig
from echoic.codecs.quantize.quantizer import Quantizer
from echoic.codecs.weights import weights_hash
from echoic.streaming.module import run_offline, run_streamed

HOP = CONFIG.hop_length


def sound(samples: int, seed: int = 0, batch: int = 1) -> Tensor:
    return murmur(batch, samples, torch.Generator().manual_seed(seed))


def mels(frames: int, seed: int = 0) -> Tensor:
    return torch.randn(1, frames, 80, generator=torch.Generator().manual_seed(seed))


def seen_by(run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return bool (outputs, inputs): which frames of `x` (1, F, C) each output depends on."""
    x = x.clone().requires_grad_()
    y = run(x)[0].sum(1)
    rows = [torch.autograd.grad(one, x, retain_graph=True)[0][0].abs().sum(1) > 0 for one in y]
    return torch.stack(rows)


def test_a_code_hears_its_block_and_what_came_before_in_its_window() -> None:
    front = small_model().front
    frames = 28  # of 20 ms: two windows of three blocks of 4, and a block
    lengths = torch.tensor([frames])
    seen = seen_by(lambda mel: front(mel, lengths).states, mels(2 * frames))
    for code, row in enumerate(seen):
        block = 2 * code // CONFIG.block
        window = block // 3 * 3
        # Mel frames to the first of the newest encoder frame's two; the convolutions look back 4.
        last = 2 * (CONFIG.block * (block + 1) - 1)
        first = max(0, 2 * CONFIG.block * window - 4)
        expected = torch.zeros(2 * frames, dtype=torch.bool)
        expected[first : last + 1] = True
        assert torch.equal(row, expected), code


def test_behind_the_codes_blocks_are_as_long() -> None:
    back = small_model().back
    seen = seen_by(
        lambda x: back(x, torch.ones(1, 6, dtype=torch.bool)).states,
        torch.randn(1, 6, 16, generator=torch.Generator().manual_seed(0)),
    )
    size = CONFIG.block // CONFIG.pooling
    for code, row in enumerate(seen):
        assert row.tolist() == [other // size <= code // size for other in range(6)]


def test_positions_behind_the_codes_begin_anew() -> None:
    back = small_model().back
    same = torch.ones(1, 4, 16)
    states = back(same, torch.ones(1, 4, dtype=torch.bool)).states[0]
    assert not torch.allclose(states[0], states[1], atol=1e-3)
    assert "positions" not in "".join(back.state_dict())
    with pytest.raises(ValueError, match=r"8 codes are 0\.3 s, .* 0\.28 s at once: cut"):
        back(torch.ones(1, 8, 16), torch.ones(1, 8, dtype=torch.bool))


def test_rows_of_a_batch_do_not_meet() -> None:
    front, back = small_model().front, small_model().back
    lengths = torch.tensor([12, 5])
    both = torch.cat([mels(24, 1), mels(24, 2)])
    pooled = front(both, lengths)
    assert pooled.mask.tolist() == [[True] * 6, [True] * 3 + [False] * 3]
    # Up to its last code a row is heard: 6 frames for the 5.
    alone = front(both[1:, :12], torch.tensor([6]))
    torch.testing.assert_close(pooled.states[1:, :3], alone.states, rtol=0, atol=1e-5)
    encoded = back(pooled.states, pooled.mask)
    single = back(alone.states, alone.mask)
    torch.testing.assert_close(encoded.states[1:, :3], single.states, rtol=0, atol=1e-5)
    assert encoded.log_counts[1].tolist() == [0, 0, 0, -torch.inf, -torch.inf, -torch.inf]


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(
    samples=st.integers(1, 9000),
    sizes=st.lists(st.integers(0, 2500), max_size=12),
    seed=st.integers(0, 99),
)
def test_a_stream_has_the_codes_of_the_whole(samples: int, sizes: list[int], seed: int) -> None:
    tokenizer, wav = small_tokenizer(), sound(samples, seed)
    whole = tokenizer.encode(wav).codes
    assert whole.shape == (1, 1, -(-samples // HOP))
    assert torch.equal(run_streamed(tokenizer.streaming_encoder(), wav, sizes), whole)


def test_one_pass_over_all_has_the_states_of_the_blocks() -> None:
    front, frames = small_model().front, 40
    mel = mels(2 * frames)
    whole = front(mel, torch.tensor([frames])).states
    state, parts = front.initial_state(1), []
    for block in mel.split(2 * CONFIG.block, dim=1):
        state, states = front.block(state, block)
        parts.append(states)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=1e-5)


def test_rows_have_the_codes_that_they_have_alone() -> None:
    tokenizer = small_tokenizer()
    wav, lengths = sound(5000, batch=2), torch.tensor([5000, 3000])
    both = tokenizer.encode(wav, lengths)
    assert torch.equal(both.codes[1:, :, : -(-3000 // HOP)], tokenizer.encode(wav[1:, :3000]).codes)
    assert torch.equal(both.lengths, lengths)
    assert len(both.codes.unique()) > 6


def test_it_has_the_face_of_a_codec_that_cannot_speak() -> None:
    tokenizer = small_tokenizer(replace(CONFIG, pooling=4, block=12))
    assert (tokenizer.frame_rate, tokenizer.hop_length) == (12.5, 1280)
    assert (tokenizer.num_codebooks, tokenizer.num_groups, tokenizer.codebook_size) == (1, 1, 24)
    assert tokenizer.check_n_q(None) == tokenizer.check_n_q(1) == 1
    with pytest.raises(ValueError, match="expected 1: a speech tokenizer has one"):
        tokenizer.encode(sound(1000), n_q=2)
    with pytest.raises(ValueError, match="makes no sound of its codes: take a flow decoder"):
        tokenizer.decode(torch.zeros(1, 1, 3, dtype=torch.int64))
    for wrong in (torch.zeros(100), torch.zeros(1, 0), torch.zeros(1, 9, dtype=torch.int64)):
        with pytest.raises(ValueError, match="expected floats"):
            tokenizer.encode(wrong)
    with pytest.raises(ValueError, match="NaN or infinite"):
        tokenizer.encode(torch.full((1, 900), torch.nan))
    for lengths in ([0], [101], [5, 5]):
        with pytest.raises(ValueError, match="expected 1 of 1 to 100"):
            tokenizer.encode(torch.zeros(1, 100), torch.tensor(lengths))


def test_a_book_finds_the_nearest_and_knows_when_it_has_changed() -> None:
    generator = torch.Generator().manual_seed(0)
    for width in (8, 40):
        book = Book(torch.randn(20, width, generator=generator))
        x = torch.randn(2, 7, width, generator=generator)
        for _ in range(2):
            codes = book.encode(x)
            assert_best(codes.flatten(), x.flatten(0, 1), book.vectors)
            assert torch.equal(book.decode(codes), book.vectors[codes])
            book.vectors.copy_(book.vectors.flip(0))
    with pytest.raises(ValueError, match="codes from 3 to 20, expected 0 to 19"):
        book.decode(torch.tensor([[3, 20]]))


def test_a_quantizer_that_learns_has_the_codes_of_its_book() -> None:
    quantizer = Quantizer(QuantizerConfig(16, codebook_size=6, init="uniform"))
    quantizer.codebooks.set_books(torch.randn(1, 1, 6, 16, generator=torch.Generator()))
    vectors = book_of(quantizer, 16)
    assert vectors is not None
    assert check_quantizer(quantizer, 16) == 6
    x = torch.randn(2, 9, 16, generator=torch.Generator().manual_seed(3))
    found = quantizer(x.transpose(1, 2))
    assert torch.equal(Book(vectors).encode(x), found.codes[:, 0])
    torch.testing.assert_close(
        Book(vectors).decode(found.codes[:, 0]).transpose(1, 2), found.values
    )
    assert book_of(Quantizer(QuantizerConfig(16, codebook_size=6)), 16) is None
    fit = QuantizerConfig(16, codebook_size=6)
    for wrong in (replace(fit, num_layers=2), replace(fit, codebook_dim=8), replace(fit, dim=8)):
        other = Quantizer(wrong)
        with pytest.raises(ValueError, match="expected 1 for 16, the model's width"):
            check_quantizer(other, 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": 4}, "layers is 4, and the encoder has 3"),
        ({"layers": 0}, "layers is 0, expected 1 or more"),
        ({"block": 5}, "block is 5 frames, expected a multiple of pooling"),
        ({"block": 16}, "expected a multiple of pooling .2., 14 at most"),
        ({"codebook_size": 1}, "codebook_size is 1"),
        ({"speed": 1}, "unknown settings of a speech tokenizer: speed"),
        ({"whisper": {"model_type": "whisper"}}, "config.json has no vocab_size"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    assert TokenizerConfig.from_dict(CONFIG.to_dict()) == CONFIG
    with pytest.raises(CheckpointError, match=message):
        TokenizerConfig.from_dict({**CONFIG.to_dict(), **changes})


def test_a_whisper_is_cut_without_a_loss() -> None:
    state = random_state(SIZES)
    model = TokenizerModel.of_whisper(CONFIG, state)
    cut = model.state_dict()
    assert len(cut) == len(state)
    assert torch.equal(cut["front.layers.1.fc1.weight"], state["model.encoder.layers.1.fc1.weight"])
    assert torch.equal(cut["back.layers.0.fc1.weight"], state["model.encoder.layers.2.fc1.weight"])
    assert torch.equal(cut["back.layer_norm.bias"], state["model.encoder.layer_norm.bias"])
    frozen = [name for name, weight in model.named_parameters() if not weight.requires_grad]
    assert frozen == ["front.embed_positions.weight"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = load_checkpoint(whisper_folder(tmp_path_factory.mktemp("base") / "whisper"))
    config = replace(CONFIG, whisper=base.config)
    model = TokenizerModel.of_whisper(config, base.state)
    book = torch.randn(24, 16, generator=torch.Generator().manual_seed(2))
    state = {**model.state_dict(), "book.vectors": book}
    made = tmp_path_factory.mktemp("tokenizer") / "made"
    save_tokenizer(made, config, state, base.generation, base.folder, description="of a test")
    return made


def test_only_what_hears_is_read(folder: Path, tmp_path: Path) -> None:
    """Encoder-only inference has the codes of the whole model, from a file without the rest."""
    tokenizer = SpeechTokenizer.from_pretrained(folder)
    assert not [n for n in tokenizer.state_dict() if n.startswith(("back", "decoder"))]
    assert isinstance(tokenizer.front, Front)
    state = load_file(folder / WEIGHTS)
    model = TokenizerModel(tokenizer.config)
    model.load_state_dict({k: v for k, v in state.items() if not k.startswith("book.")})
    wav = sound(3 * HOP * 8)
    mel = tokenizer.log_mel(wav)
    states = model.front(mel, torch.tensor([mel.shape[1] // 2])).states
    whole = Book(state["book.vectors"]).encode(states)
    assert torch.equal(tokenizer.encode(wav).codes[:, 0], whole)

    less = tmp_path / "less"
    less.mkdir()
    (less / "config.json").write_bytes((folder / "config.json").read_bytes())
    kept = {k: v for k, v in state.items() if k.startswith(("front.", "book."))}
    save_file(kept, less / WEIGHTS)
    again = SpeechTokenizer.from_pretrained(less)
    assert torch.equal(again.encode(wav).codes, tokenizer.encode(wav).codes)
    assert weights_hash(again) == weights_hash(tokenizer)
    with pytest.raises(CheckpointError, match="do not belong together"):
        CodeRecognizer.from_pretrained(less)


def test_codes_are_recognised_as_the_whole_model_would(folder: Path) -> None:
    recognizer = CodeRecognizer.from_pretrained(folder)
    assert isinstance(recognizer.back, Back)
    rows = [torch.arange(9), torch.arange(4)]
    texts = recognizer.recognize(rows)
    assert len(texts) == 2
    assert texts[1] == recognizer.recognize(rows[1:])[0]
    assert texts[0] != texts[1]
    for wrong, message in (([], "no codes"), ([torch.tensor([24])], "expected 0 to 23")):
        with pytest.raises(ValueError, match=message):
            recognizer.recognize(wrong)


def test_damaged_folders_are_told_in_a_line(folder: Path, tmp_path: Path) -> None:
    assert is_tokenizer(folder)
    assert not is_tokenizer(tmp_path)
    with pytest.raises(CheckpointError, match=r"no speech tokenizer: it has no config\.json"):
        SpeechTokenizer.from_pretrained(tmp_path)
    values = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**values, "kind": "whisper"}))
    with pytest.raises(CheckpointError, match="another kind of model"):
        SpeechTokenizer.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="is not there or damaged"):
        SpeechTokenizer.from_pretrained(tmp_path)
    state = load_file(folder / WEIGHTS)
    state["front.conv1.bias"][0] = torch.nan
    save_file(state, tmp_path / WEIGHTS)
    with pytest.raises(CheckpointError, match=r"front\.conv1\.bias holds NaN"):
        SpeechTokenizer.from_pretrained(tmp_path)


def test_a_stream_at_once_is_the_same_as_called() -> None:
    stream, wav = small_tokenizer().streaming_encoder(), sound(4000)
    assert torch.equal(stream(wav), run_offline(stream, wav))
    assert (stream.frame_size, stream.output_size, stream.lookahead) == (1280, 2, 40)
