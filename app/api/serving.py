"""How the application is served: uvicorn's options, for the console script and for tests alike."""

from typing import Any

GRACEFUL_SECONDS = 25
LARGEST_FRAME_BYTES = 65536

# Without per-message deflate a broadcast costs a quarter; one secret in a compressed frame could be guessed.
SERVER_OPTIONS: dict[str, Any] = {
    "lifespan": "on",
    "ws": "websockets-sansio",
    "ws_per_message_deflate": False,
    "ws_max_size": LARGEST_FRAME_BYTES,
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "timeout_keep_alive": 75,
    "timeout_graceful_shutdown": GRACEFUL_SECONDS,
}
