"""An LLM with rows for speech: where they begin, what learns, and what is written to disk."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_unified import CODES, FORM, LLAMA, settings, shake, spoken, unified
from tiny_codec import saved_codec, tiny_codec
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from echoic.codecs.weights import weights_hash
from echoic.tts.errors import TtsError
from echoic.tts.tokens import FrameFormat
from echoic.tts.unified.build import build
from echoic.tts.unified.config import LoraSettings, UnifiedSettings
from echoic.tts.unified.files import Unified, load_backbone, load_unified, save_unified
from echoic.tts.unified.lora import has_lora, merge_lora, without_lora
from echoic.tts.unified.rows import books_of, start_rows
from echoic.tts.unified.text_ids import TokenizedText


@torch.no_grad()
def scores(made: Unified, seed: int = 0) -> torch.Tensor:
    ids = spoken(made, "text", 5, seed).ids[None]
    return made.model.scores(made.model.states(ids))


def test_words_and_codes_are_scored_in_one_row() -> None:
    made = unified()
    vocabulary = made.model.vocabulary
    found = scores(made)
    assert found.shape == (1, len(spoken(made, "text", 5).ids), vocabulary.size)
    ids = vocabulary.book(1)
    states = made.model.states(spoken(made, "text", 5).ids[None])
    part = made.model.scores_of(states, ids)
    torch.testing.assert_close(part, found[..., ids.start : ids.stop])
    # Without speech it is the LLM that it was.
    text = torch.tensor([made.text.encode("as before")])
    plain = made.model.backbone(text).logits
    both = made.model.scores(made.model.states(text))
    torch.testing.assert_close(both[..., : vocabulary.text_size], plain)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("words_tied", [True, False])
def test_a_folder_that_transformers_reads(tied: bool, words_tied: bool, tmp_path: Path) -> None:
    llm = LLAMA | {"tie_word_embeddings": words_tied}
    made = unified(architecture=llm, tied=tied, lora=LoraSettings(2))
    assert has_lora(made.model.backbone)
    expected = scores(made)
    save_unified(made, tmp_path)
    torch.testing.assert_close(scores(made), expected)  # what was written is as it was
    plain = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert plain.config.tie_word_embeddings == (tied and words_tied)
    assert plain.config.vocab_size == made.model.vocabulary.size
    ids = spoken(made, "text", 5).ids[None]
    with torch.no_grad():
        torch.testing.assert_close(plain(ids).logits, expected, atol=1e-4, rtol=1e-4)
    again = load_unified(tmp_path)
    assert again.model.vocabulary == made.model.vocabulary
    assert (again.model.tied, again.codec_hash) == (tied, CODES.codec_hash)
    backbone = again.model.backbone
    same = backbone.get_input_embeddings().weight is backbone.get_output_embeddings().weight
    assert same == words_tied
    torch.testing.assert_close(scores(again), expected, atol=1e-4, rtol=1e-4)
    names = json.loads((tmp_path / "speech_tokens.json").read_text())
    assert names["<|audio_0_0|>"] == 256
    assert names["<|end_of_answer|>"] == made.model.vocabulary.end == made.model.vocabulary.size - 1


def test_adapters_can_be_turned_off_and_merged() -> None:
    made = unified(lora=LoraSettings(2, targets="attention"))
    names = [n for n, _ in made.model.named_parameters() if "lora_" in n]
    assert names
    assert not any("mlp" in name for name in names)
    expected = scores(made)
    with without_lora(made.model.backbone):
        off = scores(made)
    assert not torch.allclose(off, expected, atol=1e-2)
    torch.testing.assert_close(scores(made), expected)
    merge_lora(made.model.backbone)
    assert not has_lora(made.model.backbone)
    torch.testing.assert_close(scores(made), expected, atol=1e-4, rtol=1e-4)


def test_with_adapters_the_rows_of_speech_learn_in_full_and_words_do_not() -> None:
    made = build(settings(lora=LoraSettings(2), tied=False), FORM, CODES.codec_hash)
    learns = {n for n, p in made.model.named_parameters() if p.requires_grad}
    assert {"rows", "head_rows"} <= learns
    assert all("lora_" in name for name in learns - {"rows", "head_rows"})
    words = made.model.backbone.get_input_embeddings().weight
    before = words.detach().clone()
    ids = spoken(made, "text", 5).ids[None]
    made.model.scores(made.model.states(ids)).square().mean().backward()
    assert words.grad is None
    assert float(made.model.rows.grad.abs().sum()) > 0  # pyright: ignore[reportOptionalMemberAccess]
    assert torch.equal(words, before)
    # Fresh adapters change nothing.
    torch.testing.assert_close(
        scores(made), scores(build(settings(tied=False), FORM, CODES.codec_hash))
    )


def test_rows_begin_as_the_codecs_books_in_the_size_of_words(tmp_path: Path) -> None:
    codec = tiny_codec()
    form = FrameFormat(2, codec.codebook_size, codec.frame_rate, codec=str(saved_codec(tmp_path)))
    made = build(settings(codebooks=True, tied=False), form, weights_hash(codec))
    words = made.model.backbone.get_input_embeddings().weight
    books = books_of(codec, form)
    size = form.codebook_size
    for book in range(2):
        rows = made.model.rows[book * size : (book + 1) * size]
        torch.testing.assert_close(rows.mean(0), words.mean(0), atol=1e-5, rtol=1e-3)
        torch.testing.assert_close(rows.std(0), words.std(0), atol=1e-5, rtol=1e-3)
        # Neighbours stay neighbours.
        near, far = torch.cdist(books[book], books[book]), torch.cdist(rows, rows)
        both = torch.stack([near.flatten(), far.detach().flatten()])
        assert float(torch.corrcoef(both)[0, 1]) > 0.7
    assert not torch.equal(made.model.rows[-1], made.model.rows[-2])  # controls differ
    wide = copy.deepcopy(made.model)
    start_rows(wide, torch.randn(2, size, 32), 0)  # as wide as words: no projection
    with pytest.raises(ValueError, match="get that one, or say codebooks: false"):
        build(settings(codebooks=True), form, "sha256:1")
    with pytest.raises(ValueError, match="begin as the codec's books"):
        build(settings(codebooks=True), FORM, "sha256:1")


def words_tokenizer() -> PreTrainedTokenizerFast:
    names = {"[UNK]": 0, "good": 1, "morning": 2, "night": 3}
    tokenizer = Tokenizer(models.WordLevel(names, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")


def test_an_llm_of_a_folder_with_its_own_tokenizer(tmp_path: Path) -> None:
    llm, out = tmp_path / "llm", tmp_path / "out"
    plain = unified(architecture=LLAMA | {"vocab_size": 6}, text=str(_tokenizer_in(llm)))
    plain.model.backbone.save_pretrained(llm)
    made = build(UnifiedSettings(base=str(llm), codebooks=False), FORM, CODES.codec_hash)
    assert made.model.vocabulary.text_size == 6  # spare ids stay
    assert made.text.encode("good night") == [1, 3]
    shake(made)
    made.model.eval()
    save_unified(made, out)
    again = load_unified(out)
    assert isinstance(again.text, TokenizedText)
    assert again.text.decode([1, 2, 5, 9]) == "good morning"
    ids = torch.tensor([[1, 3, again.model.vocabulary.say]])
    torch.testing.assert_close(again.model.states(ids), made.model.states(ids))


def _tokenizer_in(folder: Path) -> Path:
    words_tokenizer().save_pretrained(folder)
    return folder


def test_the_next_stage_begins_with_the_folder_of_the_last(tmp_path: Path) -> None:
    made = unified()
    save_unified(made, tmp_path)
    next_ = build(UnifiedSettings(base=str(tmp_path), lora=LoraSettings(2)), FORM, "sha256:0")
    torch.testing.assert_close(scores(next_), scores(made))
    with pytest.raises(TtsError, match="code the speech by its codec"):
        build(UnifiedSettings(base=str(tmp_path)), FORM, "sha256:1")
    with pytest.raises(TtsError, match="leave out `text` and `tied`"):
        build(UnifiedSettings(base=str(tmp_path), text="bytes"), FORM, "sha256:0")


def test_the_same_seed_makes_the_same_model() -> None:
    one, two, other = (
        build(settings(lora=LoraSettings(2)), FORM, "", seed=seed).model.state_dict()
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["rows"], other["rows"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": None}, "give the model a `base` or an `architecture`"),
        ({"base": "x"}, "one of the two"),
        ({"text": None}, "needs a `text`"),
    ],
)
def test_settings_that_are_none(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings(**changes)


@pytest.mark.parametrize(
    ("llm", "message"),
    [
        ({"model_type": "gpt2"}, "model_type 'gpt2', expected one of"),
        (LLAMA | {"layers": 3}, "llama has no 'layers'"),
        (LLAMA | {"vocab_size": 100}, "a text of 256 ids for an LLM of 100"),
        ({"model_type": "qwen2", "use_sliding_window": True}, "sliding window"),
    ],
)
def test_llms_that_are_not_taken(llm: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(settings(architecture=llm), FORM, "")


def test_folders_that_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(TtsError, match="is no unified model"):
        load_unified(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(TtsError, match="an LLM of kind 'gpt2': expected one of"):
        load_backbone(tmp_path)
    made = unified()
    save_unified(made, tmp_path)
    told = (tmp_path / "unified.json").read_text()
    (tmp_path / "unified.json").write_text(told.replace('"text_size": 256', '"text_size": 255'))
    with pytest.raises(TtsError, match="do not belong together"):
        load_unified(tmp_path)
    (tmp_path / "unified.json").write_text(told.replace("unified-lm", "talker"))
    with pytest.raises(TtsError, match="of kind 'talker'"):
        load_unified(tmp_path)
    (tmp_path / "unified.json").write_text(told)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:100])
    with pytest.raises(TtsError, match="holds no LLM that can be read"):
        load_unified(tmp_path)
    with torch.no_grad():
        made.model.rows[0, 0] = torch.nan
    save_unified(made, tmp_path)
    with pytest.raises(TtsError, match="rows has NaN or infinite weights"):
        load_unified(tmp_path)
