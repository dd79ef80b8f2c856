# Everything a developer does, by name. The environment in .venv is made when it is first needed.
.DEFAULT_GOAL := help
PY := .venv/bin/python
READY := .venv/.ready

.PHONY: help setup run dev test test-fast check lint format-check types imports rules format \
	bench soak migrate openapi requirements hooks clean

help: ## Show this list
	@colour=; plain=; if [ -t 1 ]; then colour=$$(printf '\033[36m'); plain=$$(printf '\033[0m'); fi; \
	awk -v colour="$$colour" -v plain="$$plain" -F ':.*## ' \
		'/^[a-z-]+:.*## / { printf "  %s%-13s%s %s\n", colour, $$1, plain, $$2 }' $(MAKEFILE_LIST)

$(READY): pyproject.toml requirements.txt requirements-dev.txt scripts/setup.sh
	@scripts/setup.sh

setup: $(READY) ## Make .venv ready (every other target does this by itself)

run: $(READY) ## Start the server on http://127.0.0.1:8000 (PORT, MARQETFI_DATA_DIR and .env are obeyed)
	@exec .venv/bin/marqetfi serve

dev: $(READY) ## Start it with demo data, restarting when a file changes
	@.venv/bin/marqetfi seed && exec .venv/bin/marqetfi serve --reload

test: $(READY) ## Run all tests, in every mode that can run here, and measure coverage (ARGS="-k name")
	@$(PY) -m scripts.run_tests $(ARGS)

test-fast: $(READY) ## Run the unit tests only, without coverage (ARGS="-k name")
	@$(PY) -m pytest -q -n 2 -m "not recorded and not crash" tests/unit $(ARGS)

check: lint format-check rules imports types ## Run every static gate (make -k check goes on after a failure)

lint: $(READY) ## Gate: ruff's rules
	@.venv/bin/ruff check --quiet .

format-check: $(READY) ## Gate: ruff's format
	@.venv/bin/ruff format --quiet --diff .

rules: $(READY) ## Gate: the project's own rules, sizes, rings and documentation
	@$(PY) -m scripts.check_rules

imports: $(READY) ## Gate: the layers of the house
	@.venv/bin/lint-imports --no-logo

types: $(READY) ## Gate: mypy, strict
	@.venv/bin/mypy

format: $(READY) ## Format the code and mend what ruff can mend
	@.venv/bin/ruff check --quiet --fix . ; .venv/bin/ruff format --quiet .

bench: $(READY) ## Measure, as ratios taken in one run (ARGS="trigger_book")
	@$(PY) -m benchmarks.run $(ARGS)

soak: $(READY) ## Run the long tests at length (ARGS="simulation --seeds 200"; simulation, model, kills, engines, chaos)
	@$(PY) -m scripts.soak $(ARGS)

migrate: $(READY) ## Bring the database to the newest migration
	@.venv/bin/marqetfi migrate

openapi: $(READY) ## Write the snapshots of the API, docs/openapi.json and docs/asyncapi.json
	@$(PY) -m scripts.export_openapi

requirements: ## Compile the locked requirements again (ARGS="--upgrade" takes newer releases)
	@scripts/uv.sh pip compile --quiet --universal --python-version 3.12 --generate-hashes \
		--no-emit-index-url --no-header $(ARGS) pyproject.toml -o requirements.txt
	@scripts/uv.sh pip compile --quiet --universal --python-version 3.12 --generate-hashes \
		--no-emit-index-url --no-header $(ARGS) --extra dev pyproject.toml -o requirements-dev.txt

hooks: $(READY) ## Let git run the quick gates before each commit
	@.venv/bin/pre-commit install

clean: ## Remove what setup and tests made; the data directory is kept
	@rm -rf .venv .uv .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache \
		.import_linter_cache htmlcov benchmarks/latest.json
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
