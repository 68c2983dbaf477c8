"""Phonemes of words, and ids of phonemes and bytes."""

import json
import shutil
import sys

import pytest

from echoic.tts.text.alphabet import BYTES, IPA, PhonemeAlphabet, alphabet_from_config
from echoic.tts.text.frontend import Reader
from echoic.tts.text.phonemes import EspeakG2P, G2PError, HibariG2P, g2p
from echoic.tts.text.pieces import Mark, Pause, Utterance, Word
from echoic.tts.text.spans import Span

HERE = Span(0, 1)
UTTERANCE = Utterance(
    (
        Word("Hi", "hˈI", HERE),
        Mark(",", HERE),
        Pause(1.0, HERE),
        Word("é", "ˈA", HERE),
        Mark("—", HERE),
        Word("x", None, HERE),
    ),
    HERE,
)


@pytest.fixture(scope="module")
def hibari() -> HibariG2P:
    pytest.importorskip("hibari")
    return HibariG2P()


def test_hibari_gives_each_word_its_phonemes(hibari: HibariG2P):
    say = hibari
    tokens = ["I", "read", "a", "book", ",", "don't", "you", "?"]
    said = say(tokens)
    assert len(said) == len(tokens)
    assert said[0] == "ˌI"
    assert said[4] == said[7] == ""
    assert said[5] == "dˈOnt"
    assert say([]) == []
    spelled = say(["well-known", "o'clock", "twenty-three", "B", "B", "C"])
    assert all(spelled)
    assert spelled[3:] == ["bˈi", "bˈi", "sˈi"]


def test_hibari_s_phonemes_are_in_the_alphabet(hibari: HibariG2P):
    text = (
        "The quick brown fox jumps over a lazy dog. Measure the vision, boy; how odd! "
        "George thought she'd hear a cure. Zyxgloop — 3 kg at 5 p.m., naïve café."
    )
    for utterance in Reader("en", hibari).read(text):
        assert all(word.phonemes for word in utterance.words)
        ids = IPA.encode(utterance).ids
        assert IPA.decode(ids) == utterance.phonemes


def test_hibari_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "hibari.g2p", None)
    with pytest.raises(G2PError, match=r"pip install 'echoic\[tts\]'"):
        g2p("hibari")


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_espeak_gives_each_word_its_phonemes():
    say = EspeakG2P()
    said = say(["of", "the", "well-known", ",", "café", "."])
    assert said[3] == said[5] == ""
    assert all(said[i] for i in (0, 1, 2, 4))
    (utterance,) = Reader("en", say).read("Of the well-known café, thought George.")
    assert IPA.decode(IPA.encode(utterance).ids) == utterance.phonemes
    assert g2p("espeak:de")(["Haus"]) == ["hˈaʊs"]
    assert say([","]) == [""]
    with pytest.raises(G2PError, match="espeak-ng ended with"):
        g2p("espeak:nowhere")


def test_espeak_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(G2PError, match="apt install espeak-ng"):
        g2p("espeak")


def test_unknown_g2p():
    with pytest.raises(ValueError, match="no G2P 'misaki'; there are hibari, hibari-gb, espeak"):
        g2p("misaki")


def test_the_ids_of_version_1_never_change():
    assert IPA.size == 142
    known = {"<pad>": 0, "<begin>": 1, "<end>": 2, "<pause>": 3, " ": 4, "?": 5, ",": 12}
    known |= {"ˈ": 13, "a": 16, "b": 48, "A": 121, "\u0361": 141}
    assert {s: IPA.symbols.index(s) for s in known} == known
    assert (BYTES.size, BYTES.specials[0], BYTES.specials[-1]) == (262, "<pad>", "</phonemes>")


def test_phoneme_ids_know_their_pieces():
    spoken = Utterance(UTTERANCE.pieces[:-1], HERE)
    encoded = IPA.encode(spoken)
    names = [IPA.symbols[i] for i in encoded.ids]
    assert names == ["<begin>", *"hˈI", ",", "<pause>", *" ˈA", *" —", "<end>"]
    assert encoded.pieces == [-1, 0, 0, 0, 1, 2, -1, 3, 3, -1, 4, -1]
    assert IPA.decode(encoded.ids) == spoken.phonemes == "hˈI, ˈA —"


def test_words_without_phonemes_and_unknown_ones_are_named():
    with pytest.raises(ValueError, match="'x' has no phonemes"):
        IPA.encode(UTTERANCE)
    odd = Utterance((Word("x", "☃", HERE),), HERE)
    with pytest.raises(ValueError, match="'☃' of 'x' is no phoneme of the alphabet ipa 1"):
        IPA.encode(odd)


def test_byte_ids_hold_given_phonemes_apart():
    encoded = BYTES.encode(UTTERANCE)
    assert len(encoded.ids) == len(encoded.pieces)
    assert encoded.ids[:2] == [257, 260]
    assert encoded.ids[-1] == 258
    assert encoded.ids.count(259) == 1
    assert BYTES.decode(encoded.ids) == "hˈI, ˈA — x"
    plain = Utterance((Word("Hé", None, HERE), Mark("!", HERE)), HERE)
    assert BYTES.encode(plain).ids == [257, *"Hé!".encode(), 258]
    assert BYTES.encode(plain).pieces == [-1, 0, 0, 0, 1, -1]


@pytest.mark.parametrize("alphabet", [IPA, BYTES], ids=["ipa", "bytes"])
def test_alphabets_live_in_a_config(alphabet: PhonemeAlphabet):
    assert alphabet_from_config(json.loads(json.dumps(alphabet.to_config()))) == alphabet


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "kind None; it is bytes or phonemes"),
        ({"kind": "bytes", "version": 2}, "version 2; this program knows 1"),
        ({"kind": "bytes", "version": 1, "size": 3}, "of kind bytes it has"),
        ({"kind": "phonemes", "version": 1}, "of kind phonemes it has"),
        (IPA.to_config() | {"symbols": ["a"]}, "must begin with <pad>"),
        (IPA.to_config() | {"symbols": [*IPA.symbols, "a"]}, "has a symbol twice"),
    ],
)
def test_wrong_configs(config: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        alphabet_from_config(config)
