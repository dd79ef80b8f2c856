"""`.env.example` documents every setting, with its default."""

import re
from pathlib import Path

from pydantic import SecretStr

from app.config.settings import Settings

LINES = (Path(__file__).parents[3] / ".env.example").read_text().splitlines()
SETTING = re.compile(r"#([A-Z0-9_]+)=(.*)")


def documented() -> dict[str, tuple[str, str]]:
    """The value and the sentence of each setting in the file."""
    found = {}
    for before, line in zip(["", *LINES], LINES, strict=False):
        if match := SETTING.fullmatch(line):
            assert match[1] not in found, f"{match[1]} stands there twice"
            found[match[1]] = (match[2], before)
    return found


def shown(value: object) -> str:
    """A default as it is written in the environment."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(map(str, value))
    assert not isinstance(value, SecretStr), "a secret has no default"
    return str(value)


def test_every_setting_stands_there_and_nothing_else() -> None:
    assert list(documented()) == sorted(documented(), key=list(documented()).index)
    assert documented().keys() == {name.upper() for name in Settings.model_fields}


def test_each_with_its_default() -> None:
    defaults = {
        name.upper(): shown(field.get_default(call_default_factory=True, validated_data={}))
        for name, field in Settings.model_fields.items()
    }
    assert {name: value for name, (value, _) in documented().items()} == defaults


def test_each_with_a_sentence() -> None:
    for name, (_, sentence) in documented().items():
        assert re.fullmatch(r"# \S.{10,}\.", sentence), name


def test_a_copy_with_every_line_taken_in_changes_nothing(tmp_path: Path) -> None:
    copy = tmp_path / ".env"
    copy.write_text("\n".join(re.sub(r"^#([A-Z0-9_]+=)", r"\1", line) for line in LINES))
    assert Settings(_env_file=copy) == Settings(_env_file=None)
