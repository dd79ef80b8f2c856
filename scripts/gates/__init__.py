"""The gates that ruff, mypy and import-linter do not have: rules, sizes, rings and doors."""
