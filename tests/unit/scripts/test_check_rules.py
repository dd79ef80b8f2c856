"""The whole gate, on a small project on disk."""

from pathlib import Path

import pytest

from scripts.check_rules import main

LOCKED = "httpx2==2.16.2 \\\n    --hash=sha256:00\n    # via marqetfi (pyproject.toml)\n"


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_a_clean_project_passes_silently(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "app/core/x.py", '"""A limit."""\n\nLIMIT = 5\n')
    write(tmp_path, "requirements.txt", LOCKED)
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""


def test_breaches_are_printed_in_order_of_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "app/services/b.py", '"""B."""\n\nprint(1)\norder.status = 1\n')
    write(tmp_path, "app/services/a.py", "def broken(:\n")
    write(tmp_path, "migrations/versions/0001.py", "print(1)\n")
    assert main([str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        "app/services/a.py:1 syntax",
        "app/services/b.py:3 print",
        "app/services/b.py:4 status",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://packages.example/simple",
        "six @ https://packages.example/six.whl",
        "six==1.17.0",
    ],
)
def test_locked_files_hold_hashes_and_no_address(tmp_path: Path, line: str) -> None:
    write(tmp_path, "requirements-dev.txt", f"{LOCKED}{line}\n")
    assert main([str(tmp_path)]) == 1
