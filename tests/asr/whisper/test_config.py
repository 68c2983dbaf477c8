import json

import pytest
from whisper_factory import SMALL

from echoic.asr.errors import CheckpointError
from echoic.asr.languages import LANGUAGES, language_code
from echoic.asr.whisper.box import BOX
from echoic.asr.whisper.config import GenerationConfig, WhisperConfig
from echoic.asr.whisper.tokenizer import WhisperTokenizer


@pytest.fixture(scope="module")
def tokenizer() -> WhisperTokenizer:
    return WhisperTokenizer.from_folder(BOX / "tiny.en")


def test_reads_what_it_writes_and_ignores_training_keys():
    values = {**SMALL.to_dict(), "dropout": 0.1, "apply_spec_augment": True}
    assert WhisperConfig.from_dict(values) == SMALL


def test_hugging_face_reads_the_same_sizes():
    transformers = pytest.importorskip("transformers")
    theirs = transformers.WhisperConfig(**SMALL.to_dict())
    assert WhisperConfig.from_dict(theirs.to_dict()) == SMALL


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "bert"}, "model_type is 'bert'"),
        ({"activation_function": "relu"}, "activation_function = 'relu'"),
        ({"scale_embedding": True}, "scale_embedding = True"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings = False"),
        ({"d_model": 0}, "d_model must be a positive integer, not 0"),
        ({"d_model": "16"}, "not '16'"),
        ({"encoder_attention_heads": 3}, "encoder_attention_heads 3"),
    ],
)
def test_refuses_what_the_model_cannot_do(change: dict, message: str):
    with pytest.raises(CheckpointError, match=message):
        WhisperConfig.from_dict({**SMALL.to_dict(), **change})


def test_names_a_missing_size():
    values = SMALL.to_dict()
    del values["decoder_ffn_dim"]
    with pytest.raises(CheckpointError, match=r"config\.json has no decoder_ffn_dim"):
        WhisperConfig.from_dict(values)


def test_defaults_are_those_of_the_published_file(tokenizer: WhisperTokenizer):
    published = json.loads((BOX / "tiny.en" / "generation_config.json").read_text())
    config = WhisperConfig.from_dict(json.loads((BOX / "tiny.en" / "config.json").read_text()))
    read = GenerationConfig.from_dict(published, config, tokenizer)
    derived = GenerationConfig.from_dict({}, config, tokenizer)
    assert read.alignment_heads[:2] == ((1, 0), (2, 0))
    assert derived.alignment_heads == tuple((i, h) for i in (2, 3) for h in range(6))
    assert derived.suppress_tokens == read.suppress_tokens
    assert derived.begin_suppress_tokens == read.begin_suppress_tokens == (220, 50256)
    assert (derived.no_timestamps_token_id, derived.prev_sot_token_id) == (50362, 50360)
    assert (derived.decoder_start_token_id, derived.no_speech_token_id) == (50257, 50361)
    assert not derived.is_multilingual
    assert derived.lang_to_id == {}


def test_heads_of_a_deeper_model_are_replaced(tokenizer: WhisperTokenizer):
    values = {"alignment_heads": [[7, 0], [10, 17]]}
    generation = GenerationConfig.from_dict(values, SMALL, tokenizer)
    assert generation.alignment_heads == ((1, 0), (1, 1))


def test_suppress_tokens_may_be_switched_off_but_not_be_wrong(tokenizer: WhisperTokenizer):
    off = GenerationConfig.from_dict({"suppress_tokens": []}, SMALL, tokenizer)
    assert off.suppress_tokens == ()
    with pytest.raises(CheckpointError, match="holds 51864, outside the vocabulary of 51864"):
        GenerationConfig.from_dict({"suppress_tokens": [51864]}, SMALL, tokenizer)
    with pytest.raises(CheckpointError, match="prev_sot_token_id 60000"):
        GenerationConfig.from_dict({"prev_sot_token_id": 60000}, SMALL, tokenizer)


def test_languages_by_code_and_name():
    assert language_code(" English") == "en"
    assert language_code("YUE") == "yue"
    assert language_code("castilian") == "es"
    assert language_code("haitian creole") == "ht"
    assert len(LANGUAGES) == 100
    with pytest.raises(ValueError, match="unknown language 'klingon'"):
        language_code("klingon")


def test_language_table_is_openai_s():
    theirs = pytest.importorskip("whisper.tokenizer")
    assert list(LANGUAGES.items()) == list(theirs.LANGUAGES.items())
    assert all(language_code(n) == c for n, c in theirs.TO_LANGUAGE_CODE.items())
