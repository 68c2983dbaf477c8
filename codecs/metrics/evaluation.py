"""A codec on recordings: what is lost, how many bits are left, how fast it is."""

import io
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from echoic.audio.io import Source, load
from echoic.codecs.codec import Codec, Encoded
from echoic.codecs.container import EchoWriter, Header
from echoic.codecs.metrics.distances import SHORTEST, mel_distance, si_sdr, stft_distance
from echoic.codecs.metrics.report import Failure, Report, Row, Settings
from echoic.codecs.metrics.scorers import Found, find_scorers
from echoic.codecs.quantize.usage import count_codes
from echoic.codecs.weights import weights_hash

T = TypeVar("T")


class Recording(NamedTuple):
    """Something to measure: a name for tables, and where the sound is."""

    name: str
    source: Source


def evaluate(
    codec: Codec,
    recordings: Iterable[Recording],
    *,
    model: str,
    n_q: int | None = None,
    found: Found | None = None,
    told: Callable[[Row | Failure], None] = lambda _: None,
) -> Report:
    """Code and decode recordings, and compare.

    Each is mixed to mono and resampled to the codec's rate first, so that what the rate itself
    takes away is not counted; original and reconstruction are compared sample by sample, without a
    search for a delay.

    Args:
        codec: in evaluation mode.
        recordings: what to measure.
        model: the codec's name.
        n_q: codes of a frame; None for all.
        found: scores of other packages; None for all that are installed.
        told: is told each result as it comes.

    Returns:
        What was measured; recordings that cannot be read are among its failures.

    Raises:
        ValueError: an n_q that is out of range.
    """
    n_q = codec.check_n_q(n_q)
    found = find_scorers(codec.sample_rate) if found is None else found
    _warm_up(codec, n_q)
    rows: list[Row] = []
    failures: list[Failure] = []
    counts = torch.zeros(n_q, codec.codebook_size, dtype=torch.int64)
    for recording in recordings:
        try:
            row, codes = _measure(codec, recording, n_q, found)
        except (ValueError, OSError) as e:
            failures.append(Failure(recording.name, " ".join(str(e).split())))
            told(failures[-1])
            continue
        rows.append(row)
        counts += count_codes(codes, codec.codebook_size)
        told(row)
    settings = _settings(codec, model, n_q, found)
    return Report(settings, tuple(rows), counts, tuple(failures), dict(found.missing))


def _measure(codec: Codec, recording: Recording, n_q: int, found: Found) -> tuple[Row, Tensor]:
    audio = load(recording.source, sample_rate=codec.sample_rate, mono=True)
    wav = audio.wav.to(codec.device)
    if wav.shape[1] < SHORTEST:
        raise ValueError(
            f"has {wav.shape[1]} samples at {codec.sample_rate} Hz, expected {SHORTEST} or more: "
            "too short to be compared"
        )
    encode_seconds, encoded = _timed(codec, lambda: codec.encode(wav, n_q=n_q))
    decode_seconds, back = _timed(codec, lambda: codec.decode(encoded))
    wav, back = wav.cpu(), back.cpu()
    ratio = float(si_sdr(wav, back))
    scores: dict[str, float | None] = {
        "si_sdr": ratio if abs(ratio) < float("inf") else None,
        "mel_distance": mel_distance(wav, back, codec.sample_rate),
        "stft_distance": stft_distance(wav, back),
    }
    for scorer in found.scorers:
        scores[scorer.kind.name] = scorer(wav[0], back[0])
        if scorer.kind.blind:
            scores[f"{scorer.kind.name}_original"] = scorer(wav[0], wav[0])
    row = Row(
        name=recording.name,
        seconds=wav.shape[1] / codec.sample_rate,
        encode_seconds=encode_seconds,
        decode_seconds=decode_seconds,
        packed_bytes=_file_bytes(codec, encoded, entropy=False),
        entropy_bytes=_file_bytes(codec, encoded, entropy=True),
        scores=scores,
    )
    return row, encoded.codes.cpu()


def _timed(codec: Codec, work: Callable[[], T]) -> tuple[float, T]:
    """Return the seconds that work takes until its result is there."""
    start = time.perf_counter()
    result = work()
    if codec.device.type == "cuda":
        torch.cuda.synchronize(codec.device)
    return time.perf_counter() - start, result


def _warm_up(codec: Codec, n_q: int) -> None:
    """Let everything that the first call does once be done."""
    wav = torch.zeros(1, codec.sample_rate // 4 + 1, device=codec.device)
    codec.decode(codec.encode(wav, n_q=n_q))


def _file_bytes(codec: Codec, encoded: Encoded, *, entropy: bool) -> int:
    """Return the bytes of codes in a file, without heads and checksums."""
    header = Header(
        model="",
        weights="",
        sample_rate=codec.sample_rate,
        hop_length=codec.hop_length,
        num_codebooks=encoded.codes.shape[1],
        codebook_size=codec.codebook_size,
        original_sample_rate=codec.sample_rate,
        segment_frames=max(1, round(2 * codec.frame_rate)),
    )
    writer = EchoWriter(io.BytesIO(), header, entropy=entropy)
    writer.write(encoded.codes)
    writer.close(int(encoded.lengths[0]))
    return writer.code_bytes


def _settings(codec: Codec, model: str, n_q: int, found: Found) -> Settings:
    return Settings(
        model=model,
        weights=weights_hash(codec),
        sample_rate=codec.sample_rate,
        frame_rate=codec.frame_rate,
        num_codebooks=n_q,
        codebook_size=codec.codebook_size,
        bitrate=codec.bits_per_second(n_q),
        device=str(codec.device),
        threads=torch.get_num_threads(),
        packages=tuple(scorer.version for scorer in found.scorers),
    )
