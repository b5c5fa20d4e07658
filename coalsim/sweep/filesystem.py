"""What a folder's file system can do: locks between processes, SQLite's write-ahead log, atomic files.

The write-ahead log needs memory that all processes share, which no network file system has;
there SQLite is told to use its older journal.  A lock of the kernel's (flock) ends with its
process however that ends, so there are no stale ones.
Source: https://www.sqlite.org/wal.html, "All processes using a database must be on the same host".
"""

import errno
import json
import os
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from coalsim.errors import InputError, Problem
from coalsim.guarded import clean, refusal

NETWORK = (
    "nfs",
    "nfs4",
    "lustre",
    "gpfs",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "glusterfs",
    "orangefs",
    "panfs",
    "fuse.sshfs",
    "fuse.glusterfs",
    "fuse.ceph-fuse",
    "fuse.juicefs",
    "fuse.s3fs",
    "virtiofs",
)
"""Types of file systems, as /proc/self/mountinfo names them, that several hosts may share."""

CARE = "take care that one command at a time uses the folder"
MOUNTS = Path("/proc/self/mountinfo")


def network_type(folder: Path, mounts: Path = MOUNTS) -> str:
    """The type of a folder's file system if it is a network's; empty if it is not, or nobody knows."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    found = _type_of(folder.resolve(), lines)
    return found if found in NETWORK else ""


def _type_of(folder: Path, mountinfo: Iterable[str]) -> str:
    """The type of the file system that a folder is on: that of the last mount on the nearest point."""
    best, kind = -1, ""
    for line in mountinfo:
        before, dash, after = line.partition(" - ")
        fields = before.split(" ")
        if not dash or len(fields) < 5:
            continue
        point = fields[4].encode().decode("unicode_escape")  # blanks are written as \040
        if folder.is_relative_to(point) and len(point) >= best:
            best, kind = len(point), after.split(" ", 1)[0]
    return kind


class FolderLock:
    """Only one process at a time writes what a lock file stands for; a context manager.

    Args:
        file: the lock file; it stays, empty of meaning, when the lock is given back.
        what: what the lock guards, for messages.
    """

    def __init__(self, file: Path, what: str) -> None:
        self._file = file
        self._what = what
        self._descriptor = -1
        self.note = ""

    def __enter__(self) -> Self:
        """Take the lock, or refuse.

        Raises:
            InputError: another process has it.
        """
        try:
            import fcntl
        except ImportError:
            self.note = f"this system has no file locks: {CARE}"
            return self
        self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = clean(os.read(self._descriptor, 200).decode("utf-8", "replace").strip())
            os.close(self._descriptor)
            self._descriptor = -1
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                self.note = f"no lock on {self._file} ({error.strerror}): {CARE}"
                return self
            by = f" ({holder})" if holder else ""
            raise refusal(
                self._file.parent,
                f"another coalsim is writing {self._what} here{by}",
                "wait until it has ended, end it, or name another folder",
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)  # and with it the lock
            self._descriptor = -1


def write_atomically(file: Path, text: str) -> None:
    """Write a file so that readers see the old one or the new one, whole, also after a crash.

    Raises:
        InputError: it cannot be written.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        try:
            with open(descriptor, "w", encoding="utf-8") as handle:
                handle.write(text)
                handle.flush()
                os.fsync(handle.fileno())
            os.chmod(name, 0o666 & ~_umask())
            os.replace(name, file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise unwritable(file, error) from None


def unwritable(file: Path, error: OSError) -> InputError:
    """Why a file cannot be written, as one of our errors."""
    message = f"cannot be written ({error.strerror or error})"
    remedy = "name a folder that you may write to, with room left"
    return InputError([Problem(where=clean(str(file)), message=message, remedy=remedy)])


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def canonical_json(value: object) -> str:
    """JSON with one text for one value: sorted keys, no blanks."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
