"""Places for real servers: directories that the server's account may enter, cleared of processes afterwards."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.cluster_placement import INSTALLATION, installed_package
from app.core.embedded_postgres import EmbeddedPostgres
from tests.waiting import until_sync


def processes_of(directory: Path) -> list[int]:
    """Every living process that works in the directory, as all of a PostgreSQL server's do in its cluster."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            place = (entry / "cwd").readlink()
        except OSError:
            continue
        if place.is_relative_to(directory):
            found.append(int(entry.name))
    return found


@pytest.fixture
def base() -> Iterator[Path]:
    """An empty directory of the test, passable for every account (tmp_path is not)."""
    directory = Path(tempfile.mkdtemp(prefix="mq-"))
    directory.chmod(0o711)
    yield directory
    for pid in processes_of(directory):
        os.kill(pid, signal.SIGKILL)
    until_sync(lambda: not processes_of(directory))
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def made_data_dir() -> Iterator[Path]:
    """A data dir whose cluster has been made and stopped; copied by tests that are not about the first start."""
    directory = Path(tempfile.mkdtemp(prefix="mq-"))
    directory.chmod(0o711)
    server = EmbeddedPostgres(directory / "data")
    server.start()
    server.stop()
    yield directory / "data"
    shutil.rmtree(directory)


@pytest.fixture
def data_dir(base: Path, made_data_dir: Path) -> Path:
    """A data dir with a cluster, not running."""
    subprocess.run(["cp", "-a", made_data_dir, base / "data"], check=True)
    return base / "data"


@pytest.fixture
def package(base: Path) -> Path:
    """A copy of the installed package's server, as another virtual environment would hold it."""
    installed = installed_package()
    copy = base / "venv" / installed.name
    libraries = f"{installed.name}.libs"
    shutil.copytree(installed / INSTALLATION, copy / INSTALLATION, ignore=shutil.ignore_patterns("include", "*.a"))
    if (installed.parent / libraries).exists():
        shutil.copytree(installed.parent / libraries, copy.parent / libraries)
    return copy
