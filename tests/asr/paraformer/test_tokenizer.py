"""Text to ids and back: characters, pieces of words, and sentencepiece's vocabularies."""

from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st
from paraformer_files import tokens_of

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.tokenizer import SPECIAL, UNKNOWN, Tokenizer

ENGLISH = "and mister john dashwood had then leisure to consider"


def of(*tokens: str, seg_dict: dict[str, list[str]] | None = None) -> Tokenizer:
    return Tokenizer([*SPECIAL, *tokens, UNKNOWN], seg_dict)


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (["我", "爱", "hel@@", "lo", "world"], "我爱hello world"),
        (["hello", "world", "我", "们"], "hello world我们"),
        (["我", "hello", "你"], "我hello你"),
        (["h@@", "i"], "hi"),
        (["2", "0", "年"], "20年"),
        (["h@@", "你"], "h你"),
        (["don't", "stop"], "don't stop"),
        ([], ""),
    ],
)
def test_the_rule_of_joining(tokens: list[str], text: str):
    """What FunASR's post-processing makes of them."""
    tokenizer = of(*dict.fromkeys(tokens))
    ids = [tokenizer.ids[token] for token in tokens]
    assert tokenizer.decode([1, *ids, tokenizer.unknown, 0, 2]) == text


def test_words_know_their_tokens():
    tokenizer = of("hel@@", "lo", "你", "world")
    ids = [3, 4, 5, tokenizer.unknown, 6]
    assert tokenizer.words(ids) == [("hello", 0, 2), ("你", 2, 3), ("world", 4, 5)]


def test_words_are_written_by_the_list_then_in_the_longest_pieces_then_in_letters():
    tokenizer = of("he@@", "hel@@", "lo", "l@@", "o", "a", "b", seg_dict={"olo": ["o", "lo"]})
    spelled = [tokenizer.tokens[i] for i in tokenizer.encode("Hello olo AB你x")]
    assert spelled == ["hel@@", "lo", "o", "lo", "a", "b", UNKNOWN, UNKNOWN]


def test_characters_of_a_corpus():
    tokenizer = Tokenizer.of_characters([ENGLISH, "你好 2020"])
    for text in (ENGLISH, "你好 2020".replace(" ", "")):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode("z") == [tokenizer.unknown]


@given(st.lists(st.text("abcz'", min_size=1).filter(lambda w: w[0] != "'" and "''" not in w)))
def test_every_text_of_known_letters_comes_back(words: list[str]):
    tokenizer = Tokenizer.of_characters(["abcz' cbaz a b c z a'b a' b'c z'"])
    text = " ".join(words)
    if tokenizer.unknown not in tokenizer.encode(text):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_on_disk(tmp_path: Path):
    tokenizer = of("hel@@", "lo", "你", seg_dict={"hello": ["hel@@", "lo"]})
    tokenizer.save(tmp_path)
    again = Tokenizer.from_folder(tmp_path)
    assert again.tokens == tokenizer.tokens
    assert again.seg_dict == tokenizer.seg_dict
    assert again.encode("hello你") == [3, 4, 5]
    (tmp_path / "bpe.model").write_bytes(b"of another vocabulary")
    of("你").save(tmp_path)
    last = Tokenizer.from_folder(tmp_path)
    assert (last.seg_dict, last.pieces) == ({}, None)


def test_sentencepiece_is_read_by_its_pieces_alone():
    tokenizer = of("▁he", "llo", "▁world", "▁")
    assert tokenizer.decode([3, 4, 5, 6]) == "hello world"
    assert tokenizer.words([3, 4, 5]) == [("hello", 0, 2), ("world", 2, 3)]


def test_sentencepiece_writes(tmp_path: Path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(f"{ENGLISH}\n" * 20)
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(tmp_path / "m"),
        vocab_size=40,
        model_type="bpe",
        minloglevel=2,
    )
    pieces = (tmp_path / "m.model").read_bytes()
    model = sentencepiece.SentencePieceProcessor(model_proto=pieces)
    listed = [model.id_to_piece(i) for i in range(len(model))]
    tokenizer = Tokenizer([*SPECIAL, *listed[3:], UNKNOWN], pieces=pieces)
    tokenizer.save(tmp_path)
    again = Tokenizer.from_folder(tmp_path)
    ids = again.encode(ENGLISH)
    assert again.decode(ids) == ENGLISH
    assert [again.tokens[i] for i in ids] == model.encode(ENGLISH, out_type=str)


@pytest.mark.parametrize("tokens", [["a"], ["a", "b", "c", 3], ["a", "b", "c", "a"]])
def test_no_vocabulary(tokens: list[str]):
    with pytest.raises(CheckpointError):
        Tokenizer(tokens)


def test_an_id_outside():
    with pytest.raises(ValueError, match="id 12 is outside the vocabulary of 12"):
        Tokenizer(tokens_of(12)).decode([12])
