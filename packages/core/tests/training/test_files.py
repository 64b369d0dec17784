import contextlib
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from headway.core import files
from headway.core.errors import UserError
from headway.core.files import DiskFullError, atomic_write
from headway.core.training.checkpoint_io import AtomicCheckpointIO


class Full:
    """A file on a disk that is full after some bytes."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(data)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.fixture
def full_disk(monkeypatch):
    real = open
    monkeypatch.setattr(
        files, "open", lambda p, *a, **k: Full(real(p, *a, **k), room=2000), raising=False
    )


def test_full_disk_is_one_line_and_the_previous_checkpoint_stays(tmp_path, monkeypatch, full_disk):
    path = tmp_path / "last.ckpt"
    with monkeypatch.context() as patch:
        patch.delattr(files, "open")
        AtomicCheckpointIO().save_checkpoint({"weight": torch.ones(3)}, path)
    with pytest.raises(DiskFullError) as caught:
        AtomicCheckpointIO().save_checkpoint({"weight": torch.zeros(10_000)}, path)
    text = str(caught.value)
    assert "\n" not in text
    assert "last.ckpt" in text
    assert "free" in text
    assert torch.equal(torch.load(path, weights_only=True)["weight"], torch.ones(3))
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_real_full_file_system_leaves_the_previous_checkpoint(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no right to mount a tmpfs")
    try:
        io, path = AtomicCheckpointIO(), disk / "last.ckpt"
        io.save_checkpoint({"weight": torch.ones(3)}, path)
        with pytest.raises(DiskFullError, match="the disk is full"):
            io.save_checkpoint({"weight": torch.zeros(100_000)}, path)
        assert torch.equal(torch.load(path, weights_only=True)["weight"], torch.ones(3))
        assert os.listdir(disk) == ["last.ckpt"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_killed_writer_leaves_the_previous_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"before")
    code = (
        "import os, signal, sys\n"
        "from headway.core.files import atomic_write\n"
        "with atomic_write(sys.argv[1]) as file:\n"
        "    file.write(b'after' * 10_000); file.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code, str(path)], env=env)
    assert path.read_bytes() == b"before"


def test_failed_block_writes_nothing(tmp_path):
    with contextlib.suppress(KeyError), atomic_write(tmp_path / "file", "w") as file:
        file.write("half")
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_link_takes_the_place_of_a_file_and_is_not_changed_by_the_next_write(tmp_path):
    last, best = tmp_path / "last", tmp_path / "best"
    best.write_text("old")
    last.write_text("first")
    files.replace_with_link(last, best)
    with atomic_write(last, "w") as file:
        file.write("second")
    assert (last.read_text(), best.read_text()) == ("second", "first")


@pytest.mark.parametrize("content", [b"", b"x" * 50, b"PK\x03\x04" + b"\0" * 50])
def test_a_damaged_checkpoint_is_one_line(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "last.ckpt"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"last.ckpt: is damaged or no checkpoint") as error:
        AtomicCheckpointIO().load_checkpoint(file, weights_only=True)
    assert "\n" not in str(error.value)
    torch.save({"epoch": 3}, file)
    with pytest.raises(UserError, match="has no state_dict"):
        AtomicCheckpointIO().load_checkpoint(file, weights_only=True)


@pytest.mark.parametrize("name", ["/", "a\0b", "x" * 300, "file/below", "folder"])
def test_places_that_cannot_be_written_are_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with (
        pytest.raises(UserError, match="cannot be written .*; choose another place"),
        atomic_write(tmp_path / name) as file,
    ):
        file.write(b"x")
    assert not list(tmp_path.rglob("*.part"))


def test_names_that_are_no_utf_8_are_written_as_the_system_has_them(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.png")
    with atomic_write(tmp_path / "table.csv", "w") as file:
        file.write(name)
    assert (tmp_path / "table.csv").read_bytes() == b"\xff.png"
