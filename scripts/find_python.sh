#!/usr/bin/env bash
# Prints the path of a Python 3 between two minor versions, both included: find_python.sh 12 14
# Each candidate is really run: a shim on PATH may name a version that is not there.
set -eu
show="import sys; print(sys.executable) if (3, $1) <= sys.version_info[:2] <= (3, $2) else sys.exit(1)"
pyenv=${PYENV_ROOT:-$HOME/.pyenv}/versions
for candidate in ${PYTHON:-} python3.12 python3.13 python3.14 python3 \
    "$pyenv"/3.12*/bin/python3 "$pyenv"/3.13*/bin/python3 "$pyenv"/3.14*/bin/python3 \
    /usr/local/bin/python3 /usr/bin/python3; do
    if found=$("$candidate" -c "$show" 2>/dev/null); then
        echo "$found"
        exit 0
    fi
done
exit 1
