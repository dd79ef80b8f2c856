"""A server in a process of its own, so that its processor time and memory can be told from those of its clients."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import uvicorn

from app.api.serving import SERVER_OPTIONS
from app.core.garbage import spare_what_lives

READY_SECONDS = 120
KIB = 1024


def serve(app: Any, **options: Any) -> None:
    """Serve an app on a port of the system's choice, which is told on standard output."""

    class Announced(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            print(self.servers[0].sockets[0].getsockname()[1], flush=True)

    # As the processes that serve do.
    spare_what_lives()
    Announced(uvicorn.Config(app, host="127.0.0.1", port=0, **{**SERVER_OPTIONS, **options})).run()


class ServerProcess:
    """A server under measurement."""

    def __init__(self, pid: int, port: int) -> None:
        self._pid = pid
        self.port = port

    def cpu_seconds(self) -> float:
        """What the process has used of the processor so far."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_kib(self) -> float:
        """What the process holds of the memory."""
        pages = int(Path(f"/proc/{self._pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / KIB


@asynccontextmanager
async def server_process(module: str, *arguments: str) -> AsyncIterator[ServerProcess]:
    """Run `python -m module arguments`, which serves; from the moment that it listens."""
    command = [sys.executable, "-m", module, *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    announced = cast(asyncio.StreamReader, process.stdout)
    try:
        async with asyncio.timeout(READY_SECONDS):
            port = await announced.readline()
        if not port:
            raise RuntimeError(f"{' '.join(command)} did not start")
        yield ServerProcess(process.pid, int(port))
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
