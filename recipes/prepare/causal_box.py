"""Put a causal adapter in the box, with a card of what was measured.

    python -m echoic.recipes.prepare.causal_box CHECKPOINT DST --report REPORT.json --data NOTES.md

CHECKPOINT is a `.ckpt` of `echoic train fit`, DST the adapter's folder (its name is the model's),
REPORT.json what `echoic stream eval MANIFEST --json REPORT.json` wrote for this adapter, and
NOTES.md a paragraph on the data it was trained on. Without a report the folder has no card yet:
export, evaluate, then call this again.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

import torch

from echoic.asr.errors import CheckpointError
from echoic.asr.whisper.adapter import WEIGHTS_FILE
from echoic.asr.whisper.hub import SHORT_NAMES
from echoic.asr.whisper.training.export import export_adapter, read_run
from echoic.recipes.model_card import About, Choices, Options, megabytes, text_of, write_card

PRECISIONS = ("float16", "float32")

_MEASURED = Template("""$command

Word error rates with Whisper's normaliser; delays in seconds of sound after the end of a word, over
the words that are right. "First shown" is when a word first appears, "settled" when it and all
before it stop changing, "promised" when the event says so (`stable`). Compute is not in them.

$table

Offline, the same base model has $offline % on these recordings.$notes""")

_METHOD = (
    'block-causal encoder and "wait" targets after Krichli et al. 2025 (arXiv 2508.12301), own '
    "code; one encoder pass for all moments, whole words, tail form "
    "(`asr/whisper/training/plan.py`)"
)

_COLUMNS = (
    ("policy", lambda r: r["policy"]),
    ("chunk ms", lambda r: f"{r['chunk_ms']:g}"),
    ("WER %", lambda r: _percent(r["errors"]["rate"])),
    ("first word", lambda r: _seconds(r["audio_clock"]["first_word"]["median"])),
    ("shown p50", lambda r: _seconds(r["audio_clock"]["shown"]["median"])),
    ("shown p95", lambda r: _seconds(r["audio_clock"]["shown"]["p95"])),
    ("settled p50", lambda r: _seconds(r["audio_clock"]["settled"]["median"])),
    ("settled p95", lambda r: _seconds(r["audio_clock"]["settled"]["p95"])),
    ("promised p50", lambda r: _seconds(r["audio_clock"]["promised"]["median"])),
    ("churn %", lambda r: _percent(r["churn"])),
    ("word ends off, ms", lambda r: f"{1000 * r['end_error']['median']:.0f}"),
    ("word starts off, ms", lambda r: f"{1000 * r['start_error']['median']:.0f}"),
)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--report", type=Path, help="of `echoic stream eval --json`")
    parser.add_argument("--data", type=Path, help="a paragraph on the training data")
    parser.add_argument("--notes", type=Path, help="a paragraph behind the table")
    parser.add_argument("--recipe", default="causal-tiny.en.yaml")
    parser.add_argument("--command", default="echoic stream eval MANIFEST --json REPORT.json")
    arguments = parser.parse_args()
    try:
        about = write([arguments.checkpoint], arguments.folder, Options())
        if arguments.report is not None:
            steps = read_run(arguments.checkpoint).get("global_step", "?")
            recipe = f"`echoic train fit --config recipes/whisper/{arguments.recipe}`"
            sections = {
                "Data": text_of(arguments.data, "Not noted."),
                "Measured": measured(arguments),
            }
            rows = {"training": f"{steps} steps; {recipe}"}
            write_card(arguments.folder, about, rows, sections, Choices("apache-2.0"))
    except (CheckpointError, OSError, ValueError, KeyError) as e:
        sys.exit(f"causal_box: {e}")


def write(checkpoints: Sequence[str | Path], folder: Path, options: Options) -> About:
    """Write the adapter of a run; tell what it is.

    Raises:
        CheckpointError: no such checkpoint.
        OSError: the folder cannot be written.
    """
    dtype = torch.float16 if options.precision == "float16" else torch.float32
    export_adapter(checkpoints[0], folder, dtype=dtype)
    adapter = read_run(checkpoints[0])["adapter"]
    base = str(adapter["base"])
    is_id = base.count("/") == 1 and not Path(base).is_dir()
    streaming = adapter.get("streaming") or {}
    blocks = ", ".join(str(20 * n) for n in streaming.get("block_frames", ()))
    name = Path(base).name
    return About(
        what=options.description or f"LoRA adapter that makes Whisper {name} hear block by block",
        rows={
            "loads in": "`echoic stream`, and peft over Hugging Face's Whisper",
            "base": f"OpenAI's Whisper `{name}`, MIT",
            "method": _METHOD,
            "blocks": f"one adapter for {blocks} ms; look-ahead of the convolutions 12.5 ms",
            "stored": f"{options.precision}, {megabytes(folder / WEIGHTS_FILE)}",
        },
        use="echoic stream FILE --model DIR",
        tags=("speech", "whisper", "streaming", "lora"),
        pipeline="automatic-speech-recognition",
        metrics=("wer",),
        library="peft",
        language="en" if base.endswith(".en") else None,
        base=SHORT_NAMES.get(base, base if is_id else None),
    )


def measured(arguments: argparse.Namespace) -> str:
    """Return what a report says, for a card."""
    report = json.loads(arguments.report.read_text(encoding="utf-8"))
    notes = text_of(arguments.notes)
    return _MEASURED.substitute(
        command=f"`{arguments.command}`",
        table=_table(report["results"]),
        offline=_percent(report["offline"]["rate"]) if report.get("offline") else "(not measured)",
        notes=f"\n\n{notes}" if notes else "",
    )


def _table(results: list[dict[str, Any]]) -> str:
    lines = [[name for name, _ in _COLUMNS], ["---"] * len(_COLUMNS)]
    lines += [[value(result) for _, value in _COLUMNS] for result in results]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    main()
