"""Try a recipe: a few steps of a tiny model on a few recordings, on the processor, in a minute.

    echoic train fit --config recipes/codec/echocodec.yaml --smoke MANIFEST

Losses, discriminators, augmentation, validation, callbacks and checkpoints are the recipe's; sizes,
numbers and data are not. What a Paraformer's or a Whisper's data need (vocabulary, statistics,
alignments) is made of the recordings first. All goes to `smoke`, in the recipe's own folder.
"""

import argparse
import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from jsonargparse import Namespace

from echoic.asr.paraformer.config import FrontendConfig
from echoic.asr.paraformer.tokenizer import Tokenizer
from echoic.asr.paraformer.training.build import write_statistics
from echoic.asr.paraformer.training.corpus import read_utterances
from echoic.asr.whisper.box import box_models
from echoic.asr.whisper.checkpoint import load_checkpoint
from echoic.audio.data.manifest import Row, Source, rows_of, write_manifest
from echoic.audio.data.recordings import find_recordings
from echoic.codecs.registry import load_codec
from echoic.recipes.prepare import aligned
from echoic.recipes.prepare.cmvn import measure
from echoic.recipes.prepare.coded_speech import align_units, code
from echoic.recipes.smoke_sizes import (
    CODECS,
    DISCRIMINATORS,
    FLOW,
    PARAFORMER,
    SPEECH,
    TOKENIZER,
    UNIFIED,
    VOCODER,
    merge,
)
from echoic.tts.training.coded import CodedCorpus
from echoic.tts.unified.sequences import Segment
from echoic.tts.unified.training.example_file import Codes, Pair, write_examples

STEPS = 3
ROWS = 8
LONGEST = 12.0
WHISPER, CAUSAL = "tiny.en", "tiny.en-causal"
CODEC = "echo-16k-tiny"
_POSITIONS = 2048  # of a row: 12 s of two codes a frame, and their text


@dataclass(frozen=True, slots=True)
class Data:
    """What a recipe is tried with.

    Attributes:
        given: a manifest, or a folder with one in it, `manifest.jsonl`, or of recordings.
        folder: where to write what is made of it.
    """

    given: Path
    folder: Path

    @property
    def manifest(self) -> Path:
        """The manifest that was given."""
        return self.given / "manifest.jsonl" if self.given.is_dir() else self.given

    def sounds(self) -> Namespace:
        """Return the source of some recordings."""
        if not self.manifest.exists():
            return _section(Source(str(self.given)))
        return _section(Source(str(self.write(self.rows()))))

    def rows(self, needs: str = "audio") -> list[Row]:
        """Return the first rows that are short, with a field that is needed.

        Raises:
            ValueError: there are none.
            OSError: the manifest cannot be read.
        """
        rows = (
            row
            for row in rows_of(Source(str(self.manifest)))
            if row.values.get(needs) and (row.duration or 0) <= LONGEST
        )
        found = list(itertools.islice(rows, ROWS))
        if not found:
            raise ValueError(
                f"--smoke {self.manifest}: no recordings with {needs!r} of {LONGEST:g} s or less"
            )
        return found

    def write(self, rows: Sequence[Row]) -> Path:
        """Write a manifest of some rows and return its path."""
        path = self.folder / "manifest.jsonl"
        write_manifest(path, rows)
        return path


def shrink(config: Namespace, given: str) -> None:
    """Make a recipe small.

    Args:
        config: of the subcommand; changed.
        given: see `Data`.

    Raises:
        ValueError: a recipe of another kind, or recordings that cannot be used.
        OSError: they cannot be read.
    """
    kind = config.data.class_path.rpartition(".")[2]
    if kind not in KINDS:
        raise ValueError(f"--smoke knows data of {', '.join(KINDS)}, the recipe has {kind}")
    root = Path(config.trainer.default_root_dir or ".") / "smoke"
    config.trainer.default_root_dir = str(root)
    manifest = KINDS[kind](config.model.init_args, config.data.init_args, Data(Path(given), root))
    config.data.init_args.num_workers = 0
    _shrink_trainer(config.trainer, manifest)


def _shrink_trainer(trainer: Namespace, manifest: str) -> None:
    steps = min(STEPS, trainer.max_steps) if trainer.max_steps > 0 else STEPS
    trainer.update(
        Namespace(
            max_steps=steps,
            accelerator="cpu",
            devices=1,
            num_nodes=1,
            strategy="auto",
            precision="32-true",
            accumulate_grad_batches=1,
            limit_val_batches=1,
            val_check_interval=steps,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
        )
    )
    for callback in trainer.callbacks or []:
        values = callback.get("init_args") or Namespace()
        if values.get("dirpath"):
            values.dirpath = None
        for name in ("every_n_train_steps", "every_n_steps"):
            if values.get(name):
                values[name] = steps
        if "chunk_ms" in values:
            values.update(Namespace(manifest=manifest, chunk_ms=values.chunk_ms[:1], limit=1))


def _paraformer(task: Namespace, data: Namespace, given: Data) -> str:
    manifest = str(given.write(given.rows("text")))
    source = Source(manifest)
    tokens = given.folder / "tokens"
    tokens.mkdir(exist_ok=True)
    Tokenizer.of_characters(u.text for u in read_utterances(source, data.labels)).save(tokens)
    frontend = FrontendConfig(**(data.frontend or Namespace()).as_dict())
    cmvn = tokens / "cmvn.json"
    write_statistics(cmvn, measure(find_recordings(source), frontend), frontend)
    shift = bool((task.model or {}).get("decoder", {}).get("shift"))
    task.model = merge(task.model or {}, PARAFORMER)
    if shift:
        task.model["decoder"]["shift"] = PARAFORMER["decoder"]["kernel_size"] // 2
    task.update(Namespace(vocabulary=str(tokens), cmvn=str(cmvn), encoder_from=None))
    if task.optimizer:
        task.optimizer.encoder_rest = 0
    data.update(Namespace(train=[_section(source)], validation=[_section(source)]))
    data.update(Namespace(vocabulary=str(tokens), buckets=None))
    data.batches = Namespace(seconds=12.0, utterances=4, jitter=0.15)
    return manifest


def _codec(task: Namespace, data: Namespace, given: Data) -> str:
    sounds = given.sounds()
    data.update(Namespace(train=[sounds], validation=[sounds], validation_batches=1))
    data.crops = data.crops or Namespace()
    data.crops.update(Namespace(seconds=0.25, batch_size=2))
    if "discriminators" not in task:  # a vocoder learns from the same sounds
        task.model = merge(task.model or {}, VOCODER)
        return sounds.path
    task.model = merge(task.model, CODECS[task.model["kind"]])
    for family, settings in (task.discriminators or {}).items():
        settings.update(DISCRIMINATORS[family.partition(".")[0]])
    if task.adversarial:
        task.adversarial.start_step = min(1, task.adversarial.start_step)
    return sounds.path


def _whisper(task: Namespace, data: Namespace, given: Data) -> str:
    if not Path(task.base).is_dir() and task.base not in {model.name for model in box_models()}:
        task.base = data.base = WHISPER
        if "causal" in task:
            task.update(Namespace(causal=CAUSAL, language="en"))
            data.language = "en"
    rows = given.rows("text")
    manifest = given.write(rows)
    if "tokens" not in rows[0].values:
        manifest = _align(manifest, task.base)
    corpus = Namespace(manifest=str(manifest), share=1.0)
    data.update(Namespace(train=[corpus], validation=[corpus], validation_batches=1))
    data.batches = data.batches or Namespace()
    data.batches.update(Namespace(seconds=4.0, lengths=[2.0]))
    if "causal" in task:
        task.bottleneck = 4
    else:
        task.lora = task.lora or Namespace()
        task.lora.rank = 2
    return str(manifest)


def _language(task: Namespace, data: Namespace, given: Data) -> str:
    if not Path(task.base).is_dir() and task.base not in {model.name for model in box_models()}:
        # The box has no model of many languages.
        task.update(Namespace(base=WHISPER, language="en"))
        data.update(Namespace(base=WHISPER, language="en"))
    source = _section(Source(str(given.write(given.rows("text")))))
    data.update(Namespace(train=[source], validation=[source]))
    data.batches = Namespace(seconds=12.0, utterances=2, jitter=0.15)
    task.bottleneck = 4
    return source.path


def _tokenizer(task: Namespace, data: Namespace, given: Data) -> str:
    book = task.quantizer.init_args.config
    if not Path(task.base).is_dir() and task.base not in {model.name for model in box_models()}:
        task.update(Namespace(base=WHISPER, language="en"))
        data.update(Namespace(base=WHISPER, language="en"))
    source = _section(Source(str(given.write(given.rows("text")))))
    data.update(Namespace(train=[source], validation=[source]))
    data.batches = Namespace(seconds=12.0, utterances=2, jitter=0.15)
    book.update(Namespace(dim=load_checkpoint(task.base).config.d_model, **TOKENIZER))
    task.update(Namespace(layers=None, words=1))
    return source.path


def _coded(given: Data) -> tuple[str, Path]:
    """Code the recordings; return their manifest, and the corpus."""
    manifest = str(given.write(given.rows("text")))
    codes = given.folder / "codes"
    for problem in code(Source(manifest), str(codes), load_codec(CODEC), name=CODEC, n_q=2):
        if problem:
            raise ValueError(f"--smoke {problem}")
    return manifest, codes


def _speech(task: Namespace, data: Namespace, given: Data) -> str:
    manifest, codes = _coded(given)
    if (task.model or {}).get("text") == "along":
        align_units(str(codes))
    source = Namespace(path=str(codes), split="", share=1.0)
    data.update(Namespace(train=[source], validation=[source]))
    data.batches = Namespace(seconds=20.0, utterances=4, longest=LONGEST, buckets=(1, 1))
    task.model = merge(task.model or {}, SPEECH)
    return manifest


def _flow(task: Namespace, data: Namespace, given: Data) -> str:
    sounds = given.sounds()
    data.update(Namespace(train=[sounds], validation=[sounds], speakers=None))
    data.batches = Namespace(seconds=20.0, utterances=4, longest=LONGEST, buckets=1)
    task.update(Namespace(codec=CODEC, n_q=2))
    task.model = merge(task.model or {}, FLOW)
    return sounds.path


def _unified(task: Namespace, data: Namespace, given: Data) -> str:
    manifest, codes = _coded(given)
    corpus = CodedCorpus(codes)
    texts, turns = given.folder / "texts.txt", given.folder / "turns.jsonl"
    texts.write_text("".join(f"{line.text}\n" for line in corpus.lines), encoding="utf-8")
    write_examples(turns, _codes_of(corpus), _turns(corpus))
    paths = {"text": texts, "examples": turns}
    for source in [*data.train, *(data.validation or [])]:
        source.update(Namespace(path=str(paths.get(source.task, codes)), split=""))
    data.shape = Namespace(rows=2, positions=_POSITIONS)
    _shrink_unified(task)
    return manifest


def _preferences(task: Namespace, data: Namespace, given: Data) -> str:
    manifest, codes = _coded(given)
    corpus = CodedCorpus(codes)
    pairs = given.folder / "pairs.jsonl"
    turns = _turns(corpus)
    # As a bad sample would be: the words of another text.
    both = itertools.pairwise([*turns, turns[0]])
    made = [Pair(own[:1], own[1:], other[1:]) for own, other in both]
    write_examples(pairs, _codes_of(corpus), made)
    validation = None if data.validation is None else str(pairs)
    data.update(Namespace(train=str(pairs), validation=validation, pairs=2, positions=_POSITIONS))
    _shrink_unified(task)
    return manifest


def _codes_of(corpus: CodedCorpus) -> Codes:
    return Codes(corpus.settings.format, corpus.settings.codec_hash)


def _turns(corpus: CodedCorpus) -> list[list[Segment]]:
    return [
        [Segment(line.text), Segment(corpus.frames(index), answer=True)]
        for index, line in enumerate(corpus.lines)
    ]


def _shrink_unified(task: Namespace) -> None:
    task.model.update(Namespace(base=None, architecture=UNIFIED, text="bytes", tied=None))
    if task.model.lora:
        task.model.lora.rank = 2


def _align(manifest: Path, model: str) -> Path:
    out = manifest.with_name("aligned.jsonl")
    out.unlink(missing_ok=True)  # of another trial
    aligned.prepare(
        argparse.Namespace(
            manifest=manifest, out=out, model=model, language="en", labels="transcript",
            where=[], min_logprob=-100.0, textgrids=None,
        )
    )  # fmt: skip
    return out


def _section(source: Source) -> Namespace:
    return Namespace(**asdict(source))


#: What makes data and model of a recipe small, by the class of its data; returns a manifest.
KINDS: dict[str, Callable[[Namespace, Namespace, Data], str]] = {
    "ParaformerData": _paraformer,
    "CodecData": _codec,
    "CausalWhisperData": _whisper,
    "LanguageAdapterData": _language,
    "SpeechTokenizerData": _tokenizer,
    "SpeechData": _speech,
    "UnifiedData": _unified,
    "PreferenceData": _preferences,
    "FlowData": _flow,
}
