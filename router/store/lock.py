"""One server per database: a lock that the kernel takes away from a dead process, and a mark that tells of its unclean end."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .errors import StoreError


class ServerLock:
    """Held by `router serve` while it runs. Other commands do not need it."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".lock")
        #: the holder before us did not release it: it was killed, or the machine went down
        self.unclean = False
        try:
            self._file = self._path.open("a+b")
        except OSError as error:
            raise StoreError(
                f"cannot write {self._path}: {error.strerror}; is the folder there and writable?"
            ) from error
        if not _lock(self._file.fileno()):
            self._file.seek(0)
            holder = self._file.read(20).decode("ascii", "replace").strip() or "unknown"
            self._file.close()
            raise StoreError(
                f"{database} is in use by another router (process {holder}); stop it, or set server.database"
            )
        self._file.seek(0)
        self.unclean = bool(self._file.read(1))
        try:
            self._file.truncate(0)
            self._file.write(str(os.getpid()).encode())
            self._file.flush()
        except OSError as error:
            self._file.close()
            raise StoreError(f"cannot write {self._path}: {error.strerror}") from error

    def close(self) -> None:
        """Let the next one in, with the mark as we found it: a start that was refused has mended nothing. The file stays, since
        removing it would race with a process that is just opening it."""
        if not self.unclean:
            self._file.truncate(0)
        self._file.close()


if sys.platform == "win32":
    import msvcrt

    #: beyond the bytes that are written: a locked range cannot be read there by others
    _BYTE = 4096

    def _lock(descriptor: int) -> bool:
        os.lseek(descriptor, _BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
