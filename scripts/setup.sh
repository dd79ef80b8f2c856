#!/usr/bin/env bash
# Makes .venv ready: Python 3.12 or newer, the locked packages, the project itself. May be run again at any time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
started=$SECONDS

if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; then
    echo "setup: making .venv (a minute or so the first time)" >&2
    rm -rf .venv
    # Without a fitting interpreter uv downloads one.
    python=$(scripts/find_python.sh 12 14) || python=3.12
    scripts/uv.sh venv --quiet --python "$python" .venv || {
        echo "setup: no Python 3.12 to 3.14 here, and none could be downloaded: install one, then run this again" >&2
        exit 1
    }
else
    echo "setup: bringing .venv up to date" >&2
fi
scripts/uv.sh pip sync --quiet --compile-bytecode --python .venv/bin/python --require-hashes requirements-dev.txt
# The build backend is among the locked packages, so nothing is fetched without a hash.
scripts/uv.sh pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
touch .venv/.ready
echo "setup: $(.venv/bin/python --version) ready in $((SECONDS - started)) s" >&2
