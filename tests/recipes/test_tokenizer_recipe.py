"""The recipe of the speech tokenizer, made small: from recordings to codes, and codes of text."""

from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from small_tokenizer import whisper_folder
from speech_data import DATA, utterances
from typer.testing import CliRunner, Result

from echoic.asr.tokenizer.recognizer import CodeRecognizer
from echoic.asr.tokenizer.tokenizer import SpeechTokenizer
from echoic.codecs.weights import weights_hash
from echoic.recipes.cli import build_app
from echoic.recipes.model_card import Options
from echoic.recipes.prepare import talker_box
from echoic.tts.errors import TtsError
from echoic.tts.interleaved.speaker import TalkerCodes
from echoic.tts.lm import SpeechLM, SpeechLMConfig, TransformerConfig
from echoic.tts.talker import Talker
from echoic.tts.text.alphabet import BYTES
from echoic.tts.tokens import FrameFormat
from echoic.tts.training.coded import CodedCorpus
from echoic.tts.training.task import MODEL_PREFIX, SETTINGS_KEY

RECIPE = Path(__file__).parents[2] / "recipes" / "whisper" / "speech-tokenizer.yaml"


def echoic(*words: str | Path) -> Result:
    line = [str(word) for word in words]
    return CliRunner().invoke(build_app(line), line)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a trial of the recipe made, of a model that is as small."""
    root = tmp_path_factory.mktemp("run")
    base = whisper_folder(root / "whisper")
    done = echoic(
        "train", "fit", "--config", RECIPE, "--smoke", DATA,
        "--model.init_args.base", base, "--data.init_args.base", base,
        "--trainer.default_root_dir", root, "--trainer.enable_progress_bar", "false",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    folder = root / "tokenizer"
    done = echoic("export", root / "smoke", folder, "--license", "mit", "--checkpoint", "best")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{folder}: speech tokenizer of 8 codes, ")
    return folder


def test_a_run_becomes_a_tokenizer_with_its_card(tokenizer: Path) -> None:
    found = SpeechTokenizer.from_pretrained(tokenizer)
    assert (found.frame_rate, found.codebook_size) == (25.0, 8)
    assert CodeRecognizer.from_pretrained(tokenizer).recognize([torch.arange(5)])
    card = ModelCard.load(tokenizer / "README.md").text
    for told in ("cut behind layer 1 of 3", "| codes | 25 a second of 8 |", "blocks of 2000 ms",
                 "--codec tokenizer", "| val/wer |", "| val/perplexity |"):  # fmt: skip
        assert told in card


def test_recordings_become_a_corpus_of_its_codes(tokenizer: Path, tmp_path: Path) -> None:
    done = echoic(
        "prepare", "coded-speech", DATA / "manifest.jsonl", tmp_path, "--codec", tokenizer
    )
    assert done.exit_code == 0, done.output
    corpus = CodedCorpus(tmp_path)
    form = corpus.settings.format
    assert (form.num_codebooks, form.codebook_size, form.frame_rate) == (1, 8, 25.0)
    assert form.codec == str(tokenizer)
    found = SpeechTokenizer.from_pretrained(tokenizer)
    assert corpus.settings.codec_hash == weights_hash(found)
    first = utterances(DATA)[0]
    assert torch.equal(corpus.frames(0)[:, 0], found.encode(first.wav[None]).codes[0, 0])
    done = echoic(
        "prepare", "coded-speech", DATA / "manifest.jsonl", tmp_path, "--codec", tokenizer,
        "--n-q", "2",
    )  # fmt: skip
    assert done.exit_code == 2
    assert "n_q is 2, expected 1" in done.stderr
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text('{"kind": "speech-tokenizer"}')
    done = echoic("prepare", "coded-speech", DATA / "manifest.jsonl", tmp_path, "--codec",
                  tmp_path / "bad")  # fmt: skip
    assert done.exit_code == 2
    assert "has no section 'tokenizer'; export the run again" in done.stderr


def test_a_talker_of_its_codes_writes_them_and_cannot_be_heard(
    tokenizer: Path, tmp_path: Path
) -> None:
    form = FrameFormat(1, 8, 25.0, codec=str(tokenizer))
    sizes = TransformerConfig(16, 32, 1, 2, 2)
    model = SpeechLM(SpeechLMConfig(form, BYTES.size, backbone=sizes, depth=sizes))
    told = {"lm": model.config.to_dict(), "alphabet": BYTES.to_config(), "codec_hash": "sha256:a",
            "language": "en", "g2p": ""}  # fmt: skip
    state = {f"{MODEL_PREFIX}{name}": value for name, value in model.state_dict().items()}
    checkpoint = tmp_path / "last.ckpt"
    torch.save({SETTINGS_KEY: told, "state_dict": state}, checkpoint)
    about = talker_box.write([checkpoint], tmp_path / "talker", Options("float32"))
    assert about.use == "echoic prepare interleaved TEXTS OUT --model DIR"
    speaker = TalkerCodes.from_pretrained(tmp_path / "talker")
    assert speaker.codes.format == form
    assert speaker.codes.codec_hash == "sha256:a"
    with pytest.raises(TtsError, match="needs its codec"):
        Talker.from_pretrained(tmp_path / "talker")
