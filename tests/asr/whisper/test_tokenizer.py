import base64
import itertools
import json
import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoic.asr.errors import CheckpointError
from echoic.asr.whisper.box import BOX
from echoic.asr.whisper.tokenizer import _BYTE_OF_CHARACTER, WhisperTokenizer

TEXTS = (
    " And Mr. John Dashwood had then leisure to consider it; he's 1,234 years old -- isn't he?",
    " Größe naïve café, l’été à Łódź",
    "我们今天去北京吧。東京タワーへ行きたい",
    " สวัสดีครับ ພາສາລາວ မြန်မာ 廣東話",
    " emoji 👩‍👩‍👧‍👦 and  double   spaces\n\ttabs ",
    "<|endoftext|> ♪♪ [music]",
)


@cache
def english() -> WhisperTokenizer:
    return WhisperTokenizer.from_folder(BOX / "tiny.en")


@cache
def openai(multilingual: bool, languages: int = 99, language: str | None = None) -> Any:
    module = pytest.importorskip("whisper.tokenizer")
    return module.get_tokenizer(multilingual, num_languages=languages, language=language)


@cache
def multilingual(languages: int = 99) -> WhisperTokenizer:
    """OpenAI's multilingual ranks as vocabulary and merges, with its special ids."""
    whisper = pytest.importorskip("whisper")
    path = Path(whisper.__file__).parent / "assets" / "multilingual.tiktoken"
    lines = (line.split() for line in path.read_text().splitlines() if line)
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    character = {b: c for c, b in _BYTE_OF_CHARACTER.items()}
    spell = {token: "".join(character[b] for b in token) for token in ranks}
    merges = []
    for token, rank in ranks.items():
        if len(token) > 1:
            left, right = _halves(token, rank, ranks)
            merges.append((spell[left], spell[right]))
    vocab = {spell[token]: rank for token, rank in ranks.items()}
    return WhisperTokenizer(vocab, merges, openai(True, languages).special_tokens)


def _halves(token: bytes, rank: int, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The last merge that makes a token, found by making it from bytes."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        joined = [ranks.get(a + b, rank) for a, b in itertools.pairwise(parts)]
        at = min(range(len(joined)), key=joined.__getitem__)
        assert joined[at] < rank
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts[0], parts[1]


def test_ids_of_the_english_model():
    t = english()
    assert (t.eot, t.sot, t.translate, t.transcribe) == (50256, 50257, 50357, 50358)
    assert (t.sot_lm, t.sot_prev, t.no_speech, t.no_timestamps) == (50359, 50360, 50361, 50362)
    assert (t.timestamp_begin, t.vocab_size, t.is_multilingual) == (50363, 51864, False)
    assert len(t.language_ids) == 99
    assert t.language_id("hebrew") == 50278
    assert t.prompt() == (50257, 50362)
    assert t.prompt(timestamps=True) == (50257,)


@pytest.mark.parametrize(("languages", "size"), [(99, 51865), (100, 51866)])
def test_ids_of_the_multilingual_models(languages: int, size: int):
    t, o = multilingual(languages), openai(True, languages)
    assert (t.vocab_size, t.is_multilingual) == (size, True)
    for name in ("eot", "sot", "sot_lm", "sot_prev", "no_speech", "no_timestamps"):
        assert getattr(t, name) == getattr(o, name)
    assert t.timestamp_begin == o.timestamp_begin
    assert list(t.language_ids.values()) == sorted(o.all_language_tokens)
    assert t.prompt("English", "translate") == (50258, 50259, o.translate, o.no_timestamps)
    if languages == 99:
        with pytest.raises(ValueError, match="no language 'yue'"):
            t.language_id("cantonese")
    with pytest.raises(ValueError, match="unknown task 'sing'"):
        t.prompt("en", "sing")


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("english_only", [True, False])
def test_same_ids_as_openai(text: str, english_only: bool):
    t = english() if english_only else multilingual()
    o = openai(not english_only)
    ids = o.encode(text, disallowed_special=())
    assert t.encode(text) == ids
    assert t.decode(ids) == o.decode(ids) == text


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(max_size=30))
def test_same_ids_as_openai_on_any_text(text: str):
    # Classes of characters newer than one library's Unicode tables may split elsewhere.
    for t, o in ((english(), openai(False)), (multilingual(), openai(True))):
        assert t.decode(t.encode(text)) == text
        assert t.encode(text) == o.encode(text, disallowed_special=())


@pytest.mark.parametrize("text", TEXTS)
def test_same_ids_as_transformers(text: str):
    transformers = pytest.importorskip("transformers")
    theirs = _transformers_tokenizer(transformers)
    plain = text.replace("<|endoftext|>", "")
    ids = theirs(plain, add_special_tokens=False).input_ids
    assert english().encode(plain) == ids
    assert english().decode(ids) == theirs.decode(ids, clean_up_tokenization_spaces=False)


@cache
def _transformers_tokenizer(transformers: Any) -> Any:
    return transformers.WhisperTokenizerFast(tokenizer_file=str(BOX / "tiny.en/tokenizer.json"))


def test_control_tokens_in_text_stay_text():
    ids = english().encode("<|endoftext|><|0.00|><|en|>")
    assert max(ids) < english().eot
    assert english().decode(ids) == "<|endoftext|><|0.00|><|en|>"


def test_decoding_leaves_out_what_is_not_text_and_joins_bytes():
    t = english()
    ids = t.encode(" 👩‍👩‍👧")
    assert len(ids) > 6
    assert t.decode([t.sot, t.timestamp_begin + 54, *ids, t.eot]) == " 👩‍👩‍👧"
    assert t.decode(ids[:-1]).endswith("\ufffd")
    timed = t.decode_with_timestamps([t.timestamp_begin + 54, *t.encode(" hi"), t.vocab_size - 1])
    assert timed == "<|1.08|> hi<|30.00|>"
    assert t.seconds(t.timestamp_begin + 54) == 1.08
    for wrong in (-1, t.vocab_size):
        with pytest.raises(ValueError, match=f"{wrong} is outside the vocabulary of 51864"):
            t.token_bytes(wrong)


def test_random_ids_decode_as_openai_s():
    generator = random.Random(0)
    t, o = multilingual(), openai(True)
    for _ in range(300):
        ids = [generator.randrange(t.vocab_size) for _ in range(12)]
        assert t.decode_with_timestamps(ids) == o.decode_with_timestamps(ids)
        text = [i for i in ids if i < t.eot]
        assert t.decode(ids) == o.decode(text)


@pytest.mark.parametrize("language", ["en", "zh", "th", "de"])
@pytest.mark.parametrize("text", TEXTS)
def test_same_words_as_openai(text: str, language: str):
    t, o = multilingual(), openai(True, 99, language)
    ids = [*t.encode(text), t.eot]
    words, tokens = o.split_to_word_tokens(ids)
    found = t.split_to_words(ids, language)
    assert [w.text for w in found] == words
    assert [list(w.ids) for w in found] == tokens


def test_words_keep_every_token_even_of_a_broken_character():
    t = english()
    ids = t.encode(" so 👩")[:-1]
    words = t.split_to_words(ids)
    assert [i for word in words for i in word.ids] == ids
    assert words[0].text == " so"


def test_non_speech_tokens_are_openai_s():
    assert english().non_speech_tokens == openai(False).non_speech_tokens
    assert multilingual().non_speech_tokens == openai(True).non_speech_tokens


def test_reads_vocabulary_and_merges(tmp_path: Path):
    values = json.loads((BOX / "tiny.en/tokenizer.json").read_text())
    model, added = values["model"], values["added_tokens"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    lines = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(lines) + "\n")
    with pytest.raises(CheckpointError, match=r"has no tokenizer: expected tokenizer\.json"):
        WhisperTokenizer.from_folder(tmp_path)
    ids = {t["content"]: t["id"] for t in added if t["content"] != "<|endoftext|>"}
    (tmp_path / "added_tokens.json").write_text(json.dumps(ids))
    t = WhisperTokenizer.from_folder(tmp_path)
    assert t.special_ids == english().special_ids
    assert all(t.encode(text) == english().encode(text) for text in TEXTS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not readable JSON"),
        ("[]", "not a byte-level BPE"),
        ('{"model": {"vocab": {}}, "added_tokens": []}', "KeyError: 'merges'"),
        ('{"model": {"vocab": {}, "merges": []}, "added_tokens": []}', "no <|endoftext|>"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, content: str, message: str):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(CheckpointError) as error:
        WhisperTokenizer.from_folder(tmp_path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
