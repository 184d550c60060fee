"""Work on what strangers wrote that may take for ever, or all memory: done in a process of its own, which is killed when it does.

A thread could not be stopped, and would keep the interpreter from everybody else. The process gets one message and gives one; it has
neither our environment (keys of providers are in it) nor our open files.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from weakref import WeakKeyDictionary

#: what a process may know of where it runs
KEPT = ("PATH", "PYTHONPATH", "PYTHONHOME", "HOME", "USERPROFILE", "SYSTEMROOT", "TEMP", "TMP", "LANG", "LC_ALL")
MEMORY_GONE = 77
#: Windows has no limits of this kind, and macOS not all of them.
BOOTSTRAP = f"""
import runpy, sys
try:
    import resource
    wanted = {{"RLIMIT_AS": int(sys.argv[1]) << 20, "RLIMIT_FSIZE": 0, "RLIMIT_CORE": 0}}
    for name, size in wanted.items():
        try:
            resource.setrlimit(getattr(resource, name), (size, size))
        except (AttributeError, OSError, ValueError):
            pass
except ImportError:
    pass
del sys.argv[:2]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except MemoryError:
    sys.exit({MEMORY_GONE})
"""


class OutOfBounds(Exception):
    """The work was not done: it took too long or too much memory, or its process broke. The message says which."""


class Confined:
    """Runs a script on bytes: what it reads from its standard input, and writes to its standard output, in binary.

    `megabytes` bound its memory; at most `at_once` processes run at the same time, the others wait. One may serve a whole plugin.
    """

    def __init__(self, script: Path, *, megabytes: int, at_once: int = 2) -> None:
        self._script = script
        self._megabytes = megabytes
        self._at_once = at_once
        # A semaphore belongs to one event loop; we may be made before there is any.
        self._slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    async def run(self, data: bytes, *, seconds: float) -> bytes:
        """The output for this input. `seconds` count from the start of the process. Raises OutOfBounds."""
        async with self._slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(self._at_once)):
            process = await self._started()
            try:
                async with asyncio.timeout(seconds):
                    output, _ = await process.communicate(data)
            except TimeoutError:
                raise OutOfBounds(f"it took longer than {seconds:g} s") from None
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if process.returncode == MEMORY_GONE:
            raise OutOfBounds(f"it needed more than {self._megabytes} MB of memory")
        if process.returncode != 0:
            raise OutOfBounds(f"its process broke (status {process.returncode})")
        return output

    async def _started(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            # -P: the folder in which the router was started is not where modules come from
            *(sys.executable, "-P", "-c", BOOTSTRAP, str(self._megabytes), str(self._script)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={name: os.environ[name] for name in KEPT if name in os.environ},
        )
