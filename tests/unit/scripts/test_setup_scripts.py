"""Finding an interpreter and uv on machines where names on PATH lie."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"
LIES = "#!/bin/sh\necho 'command not found' >&2\nexit 127\n"


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def python_of(minor: int, tells: str) -> str:
    """A stand-in for Python 3.`minor`: answers the version test as the real one would, then `tells` where it is."""
    return (
        "#!/bin/sh\n"
        f"low=$(echo \"$2\" | sed 's/.*if (3, \\([0-9]*\\)) <=.*/\\1/')\n"
        f"high=$(echo \"$2\" | sed 's/.*<= (3, \\([0-9]*\\)) .*/\\1/')\n"
        f'[ "$low" -le {minor} ] && [ {minor} -le "$high" ] && echo {tells}\n'
    )


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """An environment with a PATH of its own; only the shell's tools are real."""
    for tool in ("bash", "sh", "sed", "dirname", "rm", "env"):
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / tool).symlink_to(found)
    return {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path), "PYENV_ROOT": str(tmp_path / "pyenv")}


def find_python(machine: dict[str, str], oldest: int, newest: int) -> str:
    command = ["bash", str(SCRIPTS / "find_python.sh"), str(oldest), str(newest)]
    return subprocess.run(command, env=machine, capture_output=True, text=True, check=False).stdout.strip()


def test_a_shim_that_fails_is_passed_over(machine: dict[str, str], tmp_path: Path) -> None:
    program(tmp_path / "bin/python3.12", LIES)
    program(tmp_path / "bin/python3", python_of(11, "too old"))
    program(tmp_path / "pyenv/versions/3.13.0/bin/python3", python_of(13, "pyenv"))
    assert find_python(machine, 12, 14) == "pyenv"


def test_the_oldest_fitting_name_on_path_is_first(machine: dict[str, str], tmp_path: Path) -> None:
    program(tmp_path / "bin/python3.12", python_of(12, "twelve"))
    program(tmp_path / "bin/python3.13", python_of(13, "thirteen"))
    assert find_python(machine, 12, 14) == "twelve"
    assert find_python({**machine, "PYTHON": "python3.13"}, 12, 14) == "thirteen"


def test_a_python_that_is_too_new_is_not_taken(machine: dict[str, str], tmp_path: Path) -> None:
    program(tmp_path / "bin/python3", python_of(15, "too new"))
    assert find_python(machine, 12, 14) != "too new"


def run_uv(machine: dict[str, str], tmp_path: Path) -> str:
    project = tmp_path / "project"
    shutil.copytree(SCRIPTS, project / "scripts", ignore=shutil.ignore_patterns("*.py", "gates", "__pycache__"))
    command = ["bash", str(project / "scripts/uv.sh"), "--version"]
    return subprocess.run(command, env=machine, capture_output=True, text=True, check=True).stdout.strip()


def test_uv_on_path_is_used(machine: dict[str, str], tmp_path: Path) -> None:
    program(tmp_path / "bin/uv", "#!/bin/sh\necho from path\n")
    assert run_uv(machine, tmp_path) == "from path"


def test_a_uv_that_does_not_run_gives_way_to_our_own(machine: dict[str, str], tmp_path: Path) -> None:
    program(tmp_path / "bin/uv", LIES)
    program(tmp_path / "project/.uv/bin/uv", "#!/bin/sh\necho our own\n")
    assert run_uv(machine, tmp_path) == "our own"
