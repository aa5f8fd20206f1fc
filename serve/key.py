"""Makes an API key and prints it with the hash that goes into SERVE_API_KEYS: python -m serve.key"""

from __future__ import annotations

import secrets

from serve.api.protection import digest

if __name__ == "__main__":
    key = secrets.token_urlsafe(32)
    print(f"key   {key}\nhash  {digest(key)}")
