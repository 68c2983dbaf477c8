"""What the importer of HiFi-Codec takes, how it finds the settings, and what it refuses."""

import json
import pickle
from pathlib import Path

import hifigan_oracle as oracle
import pytest
import torch

from echoic.codecs.errors import CodecError
from echoic.codecs.hificodec.importer import import_files, recognise
from echoic.codecs.hificodec.model import HiFiCodec

VALUES = {
    "resblock": "1",
    "upsample_rates": [8, 5, 4, 2],
    "upsample_kernel_sizes": [16, 11, 8, 4],
    "upsample_initial_channel": 64,
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5]] * 3,
    "sampling_rate": 16_000,
}


def write(path: Path, parts: dict | None = None, **options) -> Path:
    torch.save(oracle.hificodec_parts() if parts is None else parts, path, **options)
    return path


def describe(folder: Path, name: str = "config.json", **changes: object) -> None:
    values = {k: v for k, v in (VALUES | changes).items() if v is not None}
    (folder / name).write_text(json.dumps(values))


def imported(src: Path, dst: Path) -> HiFiCodec:
    assert recognise(src)
    import_files(src, dst)
    return HiFiCodec.from_pretrained(dst)


def test_the_last_step_of_a_run(tmp_path: Path):
    write(tmp_path / "g_00005000", oracle.hificodec_parts(seed=5))
    last = oracle.hificodec_parts(seed=6)
    write(tmp_path / "g_00010000", last)
    torch.save({"mpd": {}, "steps": 10_000}, tmp_path / "do_00010000")
    describe(tmp_path)
    codec = imported(tmp_path, tmp_path / "ours")
    expected = last["quantizer"]["quantizer_modules2.1.embedding.weight"]
    assert torch.equal(codec.quantizer.codebooks.books[1, 1], expected)
    assert codec.sample_rate == 16_000


@pytest.mark.parametrize(("name", "rate"), [("24k-320d", 24_000), ("16k-320d", 16_000)])
def test_a_published_name_tells_the_sizes(name: str, rate: int, tmp_path: Path):
    codec = imported(write(tmp_path / f"HiFi-Codec-{name}"), tmp_path / "ours")
    assert (codec.sample_rate, codec.hop_length) == (rate, 320)


def test_of_several_descriptions_that_of_the_name(tmp_path: Path):
    parts = oracle.hificodec_parts((16, 11, 7, 4))
    src = write(tmp_path / "HiFi-Codec-24k-240d", parts)
    describe(tmp_path, "config_16k_320d.json")
    fast = {"upsample_rates": [8, 5, 3, 2], "upsample_kernel_sizes": [16, 11, 7, 4]}
    describe(tmp_path, "config_24k_240d.json", sampling_rate=24_000, **fast)
    (tmp_path / "other.json").write_text("[]")
    (tmp_path / "broken.json").write_text("{")
    codec = imported(src, tmp_path / "ours")
    assert (codec.sample_rate, codec.hop_length) == (24_000, 240)


def test_a_checkpoint_of_an_older_torch_and_of_half_precision(tmp_path: Path):
    parts = oracle.hificodec_parts()
    halves = {part: {n: t.half() for n, t in state.items()} for part, state in parts.items()}
    path = tmp_path / "HiFi-Codec-24k-320d"
    write(path, halves, _use_new_zipfile_serialization=False)
    codec = imported(path, tmp_path / "ours")
    assert {p.dtype for p in codec.parameters()} == {torch.float32}
    norm = halves["encoder"]["normalize.3.weight"].float()
    assert torch.equal(codec.state_dict()["encoder.fuse.1.norms.0.weight"], norm)


def test_new_names_of_weight_norm(tmp_path: Path):
    parts = oracle.hificodec_parts()
    renamed = dict(parts)
    for part in ("encoder", "generator"):
        renamed[part] = {
            name.replace("weight_g", oracle.NEW[0]).replace("weight_v", oracle.NEW[1]): tensor
            for name, tensor in parts[part].items()
        }
    old = imported(write(tmp_path / "HiFi-Codec-24k-320d", parts), tmp_path / "old")
    new = imported(write(tmp_path / "new-24k-320d", renamed), tmp_path / "new")
    for name, tensor in old.state_dict().items():
        assert torch.equal(new.state_dict()[name], tensor)


def _without(part: str, *names: str):
    def change(parts: dict) -> None:
        for name in names:
            del parts[part][name]

    return change


def _with(part: str, name: str, tensor: torch.Tensor):
    def change(parts: dict) -> None:
        parts[part][name] = tensor

    return change


BOOK = "quantizer_modules.1.embedding.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("encoder", "normalize.5.bias"), r"has no 'encoder\.normalize\.5\.bias': it is"),
        (
            _without("generator", "ups.0.bias", "ups.1.bias", "ups.2.bias", "ups.3.bias"),
            r"has no .*'generator\.ups\.2\.bias' and 1 more",
        ),
        (_with("encoder", "extra.weight", torch.ones(2)), r"has 'encoder\.extra\.weight', which"),
        (_with("encoder", "conv_post.bias", torch.ones(2)), r"has shape \(2,\), expected \(128,\)"),
        (_with("generator", "ups.1.bias", torch.full((16,), torch.nan)), "ups.1.bias has NaN"),
        (_without("generator", "ups.1.weight_v"), r"ups\.1\.weight_g stands without"),
        (_without("quantizer", BOOK), "expected as many quantizer_modules as"),
        (_with("quantizer", BOOK, torch.ones(31, 64)), "embeddings have shapes"),
        (_with("quantizer", BOOK, torch.full((32, 64), torch.inf)), "has NaN or infinite"),
        (lambda parts: parts.update(encoder=None), "no state dict 'encoder'"),
    ],
)
def test_a_checkpoint_that_is_not_whole(change, message: str, tmp_path: Path):
    parts = oracle.hificodec_parts()
    change(parts)
    write(tmp_path / "g_00000001", parts)
    describe(tmp_path)
    with pytest.raises(CodecError, match=message) as error:
        import_files(tmp_path, tmp_path / "ours")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resblock": "2"}, "resblock is '2' in its JSON"),
        ({"sampling_rate": None}, "its JSON has no 'sampling_rate'"),
        ({"upsample_rates": [8, 5, 4]}, "3 rates and 4 kernels"),
        ({"upsample_kernel_sizes": [16, 11, 8, 6]}, r"has shape \(16, 8, 4\), expected"),
    ],
)
def test_a_description_that_does_not_fit(changes: dict, message: str, tmp_path: Path):
    write(tmp_path / "g_00000001")
    describe(tmp_path, **changes)
    with pytest.raises(CodecError, match=message):
        import_files(tmp_path, tmp_path / "ours")


def test_nothing_tells_the_sample_rate(tmp_path: Path):
    write(tmp_path / "g_00000001")
    with pytest.raises(CodecError, match="no JSON beside it tells the sample rate: put its config"):
        import_files(tmp_path, tmp_path / "ours")
    for name in ("a.json", "b.json"):
        describe(tmp_path, name)
    with pytest.raises(CodecError, match=r"beside it lie a\.json, b\.json: leave only its own"):
        import_files(tmp_path, tmp_path / "ours")


def test_several_checkpoints_without_an_order(tmp_path: Path):
    for name in ("HiFi-Codec-24k-320d", "HiFi-Codec-16k-320d"):
        write(tmp_path / name)
    assert recognise(tmp_path)
    with pytest.raises(CodecError, match=r"several checkpoints \(HiFi-Codec-16k-320d, HiFi"):
        import_files(tmp_path, tmp_path / "ours")


class Trap:
    """What runs code when it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("the checkpoint ran code",)


def test_code_in_a_checkpoint_does_not_run(tmp_path: Path):
    path = write(tmp_path / "HiFi-Codec-24k-320d", oracle.hificodec_parts() | {"trap": Trap()})
    assert recognise(path)
    with pytest.raises(CodecError, match="no plain PyTorch checkpoint") as error:
        import_files(path, tmp_path / "ours")
    assert "\n" not in str(error.value)


def test_a_checkpoint_that_is_cut_off(tmp_path: Path):
    path = write(tmp_path / "HiFi-Codec-24k-320d")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CodecError, match=r"HiFi-Codec-24k-320d: damaged, or no plain"):
        import_files(path, tmp_path / "ours")


def test_files_of_other_kinds(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("quantizer_modules2.0.embedding.weight")
    (tmp_path / "table.pkl").write_bytes(pickle.dumps({"a": 1}))
    torch.save({"state_dict": {"encoder.weight": torch.ones(1)}}, tmp_path / "other.ckpt")
    assert not recognise(tmp_path)
    assert not recognise(tmp_path / "absent")
    with pytest.raises(CodecError, match="no checkpoint of HiFi-Codec; expected its file"):
        import_files(tmp_path, tmp_path / "ours")
    with pytest.raises(CodecError, match=r"absent: no checkpoint of HiFi-Codec \(nothing is"):
        import_files(tmp_path / "absent", tmp_path / "ours")
