"""One writer at a time for every store."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from pathlib import Path

from .._errors import StoreError
from .metadata import LOCK_FILE

__all__ = ["WriterLock"]

_mutex = threading.Lock()
_held: set[tuple[int, int]] = set()


class WriterLock:
    """The right to write to a directory, held until :meth:`release` or the end of the process.

    A POSIX record lock: it ends with the process however that ends, is not inherited by forked
    workers of a loader, and works on network file systems. It says nothing within one process,
    hence the set of directories held here.

    Processes that write one store together hold it together: one takes it alone and then shares
    it, the others join. A newcomer gets it once all of them are gone.

    Parameters
    ----------
    root : Path
        The directory.
    shared : bool, default False
        Join the writer that shares it.

    Raises
    ------
    StoreError
        If another writer holds it, and does not share it.
    OSError
        If the directory cannot be written to.
    """

    def __init__(self, root: Path, shared: bool = False) -> None:
        self._shared = shared
        self._path = root / LOCK_FILE
        status = root.stat()
        self._key = (status.st_dev, status.st_ino)
        self._owner = os.getpid()
        with _mutex:
            if self._key in _held:
                raise _taken(root)
            self._descriptor = self._acquire(root)
            _held.add(self._key)

    def share(self) -> None:
        """Let others join."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_SH)
        self._shared = True

    def stop_sharing(self) -> None:
        """Say that the others have left."""
        self._shared = False

    def release(self) -> None:
        """Let others write; may be called again."""
        with _mutex:
            if self._key not in _held or self._descriptor < 0 or self._owner != os.getpid():
                return
            # Removed before the lock ends: whoever opened the file in between sees that it is gone.
            # Those who still share it would hold a file without a name.
            if not self._shared:
                self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1
            _held.discard(self._key)

    def __del__(self) -> None:
        # A writer that was dropped without being closed.
        if getattr(self, "_descriptor", -1) >= 0:
            self.release()

    def _acquire(self, root: Path) -> int:
        while True:
            descriptor = os.open(
                self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666
            )
            try:
                kind = fcntl.LOCK_SH if self._shared else fcntl.LOCK_EX
                fcntl.lockf(descriptor, kind | fcntl.LOCK_NB)
                found = self._path.stat()
                mine = os.fstat(descriptor)
                if (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino):
                    return descriptor
            except FileNotFoundError:
                pass
            except OSError as error:
                os.close(descriptor)
                if error.errno in (errno.EACCES, errno.EAGAIN):
                    raise _taken(root) from error
                raise
            os.close(descriptor)


def _taken(root: Path) -> StoreError:
    return StoreError(
        f"{root}: another writer is at work on this store; wait for it to end, or choose another "
        "path"
    )
