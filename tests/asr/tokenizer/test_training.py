"""Teaching a speech tokenizer: what learns, what is told of it, and what comes out of a run."""

import itertools
import json
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from small_tokenizer import whisper_folder
from torch import Tensor

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.training.plan import BatchConfig
from echoic.asr.tokenizer.book import Book, book_of
from echoic.asr.tokenizer.files import save_tokenizer
from echoic.asr.tokenizer.recognizer import CodeRecognizer
from echoic.asr.tokenizer.tokenizer import SpeechTokenizer
from echoic.asr.tokenizer.training.data import SpeechTokenizerData
from echoic.asr.tokenizer.training.export import export_tokenizer
from echoic.asr.tokenizer.training.task import TOKENIZER_KEY, SpeechTokenizerTask
from echoic.asr.tokenizer.training.watch import told
from echoic.asr.whisper.checkpoint import load_checkpoint
from echoic.asr.whisper.training.language_data import LanguageAdapterData
from echoic.asr.whisper.training.optimizer import OptimizerConfig
from echoic.asr.whisper.training.whole import WholeBatch
from echoic.audio.data.manifest import Source
from echoic.audio.write import save
from echoic.codecs.quantize.config import QuantizerConfig
from echoic.codecs.quantize.quantizer import Quantizer

RATE = 16_000
WORDS = {"yes": 300.0, "no": 2500.0}
TEXTS = ("yes no", "no yes", "yes yes no", "no no")


def spoken(text: str) -> Tensor:
    """Return a sound whose words are tones of 160 ms, with pauses."""
    time = torch.arange(2560) / RATE
    pause = torch.zeros(1280)
    tones = [(0.5 * torch.sin(2 * torch.pi * WORDS[word] * time), pause) for word in text.split()]
    return torch.cat([pause, *itertools.chain(*tones)])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whisper_folder(tmp_path_factory.mktemp("base") / "small")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    rows = []
    for number, text in enumerate(TEXTS):
        wav = spoken(text)
        save(folder / f"{number}.wav", wav[None], RATE)
        rows.append({"audio": f"{number}.wav", "text": text, "duration": len(wav) / RATE})
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def data_of(base: Path, manifest: Path) -> SpeechTokenizerData:
    source = Source(str(manifest))
    return SpeechTokenizerData(
        [source], [source], base=str(base), batches=BatchConfig(6.0, 4), seed=3
    )


def task_of(base: Path, seed: int = 0, **options: Any) -> SpeechTokenizerTask:
    book = {"codebook_size": 8, "reservoir": 2, "decay": 0.9, "dead_interval": 2}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        quantizer = Quantizer(QuantizerConfig(16, **{**book, **options.pop("book", {})}))
    optimizer = OptimizerConfig(learning_rate=0.01, warmup_steps=2, total_steps=400)
    settings = {"layers": 2, "pooling": 2, "block": 8, "optimizer": optimizer, **options}
    return SpeechTokenizerTask(quantizer, str(base), **settings)


@pytest.fixture(scope="module")
def batch(base: Path, manifest: Path) -> WholeBatch:
    return next(iter(data_of(base, manifest).train_dataloader()))


def test_what_is_heard_is_what_is_coded(base: Path, manifest: Path, batch: WholeBatch) -> None:
    """A batch has the features, and the lengths, that recordings have where they are coded."""
    data = data_of(base, manifest)
    longest = max(len(spoken(text)) for text in TEXTS)
    assert int(batch.lengths.max()) == longest // 320
    texts = [data.tokenizer.decode(row.clamp(min=0).tolist()) for row in batch.targets]
    row = next(i for i, text in enumerate(texts) if "yes yes no" in text)
    tokenizer = SpeechTokenizer(
        task_of(base).config, task_of(base).model.front, Book(torch.zeros(8, 16))
    )
    frames = 2 * int(batch.lengths[row])
    mel = tokenizer.log_mel(spoken("yes yes no")[None])
    # But for 16 bits on the disk, and the end, where whole recordings are mirrored.
    a, b = batch.mel[row, : frames - 2], mel[0, : frames - 2]
    torch.testing.assert_close(a, b, rtol=0, atol=0.02)
    other = LanguageAdapterData(
        [Source(str(manifest))], base=str(base), batches=BatchConfig(6.0, 4)
    )
    assert int(next(iter(other.train_dataloader())).lengths.max()) == (longest + 4800) // 320


def test_all_learns_through_the_codes(base: Path, batch: WholeBatch) -> None:
    task = task_of(base).train()
    loss = task(batch)
    assert book_of(task.quantizer, 16) is not None
    total, text, commitment = (float(value.detach()) for value in loss[:3])
    assert total == pytest.approx(text + 10 * commitment)
    assert len(loss.codes) == int((-(-batch.lengths // 2)).sum())
    loss.text.backward()  # alone: the gradient goes straight through the book
    still = {n for n, p in task.named_parameters() if p.grad is None or not p.grad.any()}
    assert still == {"model.front.embed_positions.weight"}
    steps = int(task.quantizer.codebooks.steps)  # pyright: ignore
    task.eval()(batch)
    assert int(task.quantizer.codebooks.steps) == steps  # pyright: ignore


@pytest.fixture(scope="module")
def learned(base: Path, batch: WholeBatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer that knows its few recordings by heart."""
    task = task_of(base, book={"codebook_size": 16}).train()
    weights = [p for p in task.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=0.01)
    losses = []
    for _ in range(400):
        loss = task(batch)
        optimizer.zero_grad()
        loss.total.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        losses.append(float(loss.text.detach()))
        if losses[-1] < 0.01:
            break
    assert losses[-1] < 0.1 * losses[0]
    folder = tmp_path_factory.mktemp("learned")
    book = book_of(task.quantizer, 16)
    assert book is not None
    checkpoint = load_checkpoint(str(base))
    state = {**task.model.state_dict(), "book.vectors": book}
    save_tokenizer(folder, task.config, state, checkpoint.generation, checkpoint.folder)
    return folder


def test_codes_alone_say_what_was_said(learned: Path) -> None:
    """Recordings to codes, as a stream, and codes to text, free running."""
    tokenizer = SpeechTokenizer.from_pretrained(learned)
    recognizer = CodeRecognizer.from_pretrained(learned)
    codes = [tokenizer.encode(spoken(text)[None]).codes[0, 0] for text in TEXTS]
    assert recognizer.recognize(codes) == list(TEXTS)
    assert len(torch.cat(codes).unique()) > 4


def test_figures_of_a_validation() -> None:
    tally = torch.tensor([2.0, 2.0, 0.0, 0.0, 3.0, 4.0])
    assert told(tally) == {"perplexity": pytest.approx(2.0), "used": 0.5, "wer": 0.75}
    assert told(torch.zeros(6)) == {"perplexity": 1.0, "used": 0.0}


def fit(
    folder: Path, steps: int, task: SpeechTokenizerTask, data: SpeechTokenizerData, **options: Any
) -> Path:
    trainer = lightning.Trainer(
        default_root_dir=folder, max_steps=steps, accelerator="cpu", devices=1,
        logger=CSVLogger(folder, "", ""), enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, log_every_n_steps=1,
        val_check_interval=steps, check_val_every_n_epoch=None,
    )  # fmt: skip
    trainer.fit(task, data, **options)
    path = folder / f"{steps}.ckpt"
    trainer.save_checkpoint(path)
    return path


@pytest.fixture(scope="module")
def run(base: Path, manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    return fit(folder, 4, task_of(base, words=2), data_of(base, manifest))


def test_a_run_that_goes_on_is_one_that_was_not_stopped(
    run: Path, base: Path, manifest: Path, tmp_path: Path
) -> None:
    # A reservoir that is not full when it is stopped: what was collected must not be lost.
    options = {"book": {"reservoir": 20}, "words": 0}
    whole = fit(tmp_path / "a", 4, task_of(base, **options), data_of(base, manifest))
    half = fit(tmp_path / "b", 2, task_of(base, **options), data_of(base, manifest))
    begun = torch.load(half, weights_only=True)
    assert begun[TOKENIZER_KEY]["book"] is None
    assert len(begun["state_dict"]["quantizer.codebooks.reservoir"])
    with pytest.raises(CheckpointError, match="has no codes yet: train beyond"):
        export_tokenizer(half, tmp_path / "none")
    task = task_of(base, seed=1, **options)
    resumed = fit(tmp_path / "c", 4, task, data_of(base, manifest), ckpt_path=str(half))
    a, b = (torch.load(path, weights_only=True) for path in (resumed, whole))
    assert b[TOKENIZER_KEY]["book"] is not None
    assert torch.equal(a[TOKENIZER_KEY]["book"], b[TOKENIZER_KEY]["book"])
    assert a["state_dict"].keys() == b["state_dict"].keys()
    for name, value in b["state_dict"].items():
        assert torch.equal(a["state_dict"][name], value), name


def test_a_validation_tells_of_codes_and_words(run: Path) -> None:
    lines = (run.parent / "metrics.csv").read_text().splitlines()
    names = lines[0].split(",")
    told_of = {n for n in names if n.startswith("val/")}
    assert told_of == {
        f"val/{n}" for n in ("loss", "text", "commitment", "perplexity", "used", "wer")
    }
    values = dict(zip(names, lines[-1].split(","), strict=True))
    assert 1 <= float(values["val/perplexity"]) <= 8
    assert 0 < float(values["val/used"]) <= 1


def test_an_exported_run_has_its_codes(
    run: Path, base: Path, batch: WholeBatch, tmp_path: Path
) -> None:
    found = export_tokenizer(run, tmp_path / "made")
    assert (found["base"], found["language"]) == (str(base), "en")
    tokenizer = SpeechTokenizer.from_pretrained(tmp_path / "made")
    values = torch.load(run, weights_only=True)
    task = task_of(base).eval()
    task.load_state_dict(values["state_dict"])
    states, mask = task.model.front(batch.mel, batch.lengths)
    assert torch.equal(tokenizer.book.encode(states)[mask], task(batch).codes)
    assert CodeRecognizer.from_pretrained(tmp_path / "made").recognize([torch.arange(6)])
    with pytest.raises(CheckpointError, match=r"is not there; give a \.ckpt file"):
        export_tokenizer(tmp_path / "no.ckpt", tmp_path / "made")
    (tmp_path / "bad.ckpt").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="was refused"):
        export_tokenizer(tmp_path / "bad.ckpt", tmp_path / "made")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="holds no speech tokenizer"):
        export_tokenizer(tmp_path / "other.ckpt", tmp_path / "made")


def test_a_quantizer_of_another_width_is_refused(base: Path) -> None:
    with pytest.raises(ValueError, match="expected 1 for 16, the model's width"):
        SpeechTokenizerTask(Quantizer(QuantizerConfig(8, codebook_size=4)), str(base))
