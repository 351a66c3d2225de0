import io
import tarfile

import pytest
from headstitch.backend.training.dataset.shards import ShardWriter, index_of, shard_name

FILES = {3: {"a.bin": b"abc", "view0.depth.png": b"x" * 700}, 4: {"a.bin": b""}}


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / shard_name(0)
    with ShardWriter(path) as writer:
        for number, files in FILES.items():
            writer.add(number, files)
        writer.finish()
    return path


def test_what_is_written_is_found_and_any_tar_program_reads_it(shard):
    content = shard.read_bytes()
    found = {
        number: {name: content[start : start + size] for name, (start, size) in files.items()}
        for number, files in index_of(shard).items()
    }
    assert found == FILES
    with tarfile.open(shard) as archive:
        assert archive.getnames() == ["00000003.a.bin", "00000003.view0.depth.png", "00000004.a.bin"]
        assert archive.extractfile("00000003.view0.depth.png").read() == b"x" * 700
    assert [path.name for path in shard.parent.iterdir()] == ["heads-000000.tar"]


def test_a_shard_that_is_not_finished_leaves_nothing(tmp_path):
    with ShardWriter(tmp_path / "x.tar") as writer:
        writer.add(0, {"a": b"b"})
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def hostile(**changes):
    info = tarfile.TarInfo(changes.pop("name", "00000000.a.bin"))
    for name, value in changes.items():
        setattr(info, name, value)
    return info


@pytest.mark.parametrize(
    ("info", "why"),
    [
        (hostile(name="../00000000.a"), "no file of a head"),
        (hostile(name="00000000.A/../b"), "no file of a head"),
        (hostile(type=tarfile.SYMTYPE, linkname="/etc/passwd"), "no file of a head"),
        (hostile(type=tarfile.XHDTYPE), "no file of a head"),
        (hostile(size=1 << 33), "no file of a head"),
        (hostile(size=100_000), "ends too early"),
    ],
)
def test_what_is_none_of_ours_is_refused(tmp_path, info, why):
    path = tmp_path / "x.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    with pytest.raises(ValueError, match=why):
        index_of(path)


def test_a_name_that_comes_twice_is_refused(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for _ in range(2):
            archive.addfile(tarfile.TarInfo("00000000.a"), io.BytesIO())
    with pytest.raises(ValueError, match="twice"):
        index_of(tmp_path / "x.tar")


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff" * 4096, b"PK" * 2000])
def test_what_is_no_tar_is_refused(tmp_path, content):
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(ValueError, match=r"no entry of a tar|ends too early"):
        index_of(tmp_path / "x.tar")
