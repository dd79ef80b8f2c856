"""`marqetfi migrate`: bring the database to another migration."""

from typing import Annotated

import typer
from rich.text import Text

from app.cli.console import screen, write_json
from app.cli.environment import load_settings
from app.cli.failure import Failure
from app.cli.offline import check_database, database_url
from app.cli.options import AsJson
from app.core import migrations

NONE = "base"


def migrate(
    to: Annotated[str, typer.Option("--to", help="A revision such as 0001; base takes all back.")] = "head",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before tables and their rows are dropped.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the database to the newest migration."""
    revisions = [NONE, *migrations.revisions()]
    target = migrations.head() if to == "head" else to
    if target not in revisions:
        raise Failure("REVISION_UNKNOWN", f"There is no migration {to}.", details={"revisions": revisions})
    with database_url(load_settings()) as url:
        before = check_database(url) or NONE
        if before not in revisions:
            raise Failure("REVISION_UNKNOWN", f"The database is at {before}, which a newer release made.")
        if revisions.index(target) < revisions.index(before):
            if not yes:
                typer.confirm(f"Going back from {before} to {target} drops what came between. Do it?", abort=True)
            migrations.downgrade(url, target)
        else:
            migrations.upgrade(url, target)
        after = check_database(url) or NONE
    if as_json:
        write_json({"before": before, "after": after})
    elif before == after:
        screen().print(Text(f"Already at {after}."))
    else:
        screen().print(Text.assemble(f"Migrated: {before} -> ", (after, "bold green")))
