#!/usr/bin/env bash
# Runs uv with the given arguments: the one on PATH when it works, else one of our own in .uv/.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
own=$root/.uv
# Behind a proxy that signs for itself only the machine's own certificates will do, where it has any.
if [ -s /etc/ssl/certs/ca-certificates.crt ]; then
    export UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-true}
fi

if uv --version >/dev/null 2>&1; then
    exec uv "$@"
fi
if ! "$own/bin/uv" --version >/dev/null 2>&1; then
    python=$("$root/scripts/find_python.sh" 8 99) || {
        echo "setup: no working Python 3 and no uv: install either, then run this again" >&2
        exit 1
    }
    echo "setup: bringing uv into .uv/" >&2
    rm -rf "$own"
    # A system Python may come without ensurepip; its pip can still fill a folder.
    if "$python" -m venv "$own" >/dev/null 2>&1; then
        "$own/bin/python" -m pip --disable-pip-version-check install --quiet uv
    else
        rm -rf "$own"
        "$python" -m pip --disable-pip-version-check install --quiet --target "$own" uv || {
            echo "setup: $python has neither venv nor pip: install python3-venv or uv, then run this again" >&2
            exit 1
        }
    fi
fi
exec "$own/bin/uv" "$@"
