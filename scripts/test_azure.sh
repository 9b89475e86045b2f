#!/usr/bin/env bash
# Runs the suite of remote storage against Azurite, which speaks the protocol of Azure Blob Storage.
source "$(dirname "$0")/common.sh"
cd "$ROOT"
"$ROOT/scripts/setup.sh" all
AZURITE=$ROOT/.azurite
[ -x "$AZURITE/node_modules/.bin/azurite-blob" ] || npm install --no-audit --no-fund --prefix "$AZURITE" azurite@3

cargo test --locked -p remote_storage --no-run
DATA=$(mktemp -d)
PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$AZURITE/node_modules/.bin/azurite-blob" --location "$DATA" --blobPort "$PORT" --skipApiVersionCheck --disableTelemetry --silent &
SERVER=$!
trap 'kill "$SERVER" 2>/dev/null; wait "$SERVER" 2>/dev/null; rm -rf "$DATA"' EXIT

export AZURE_TEST_ENDPOINT=http://127.0.0.1:$PORT/devstoreaccount1
# The emulator's published key, no secret.
export AZURE_STORAGE_ACCESS_KEY='Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=='
python3 - <<'PYTHON'
"""Makes the container `suite`: a request signed with the account's key."""
import base64
import hashlib
import hmac
import os
import time
import urllib.request
from email.utils import formatdate

endpoint, key = os.environ["AZURE_TEST_ENDPOINT"], base64.b64decode(os.environ["AZURE_STORAGE_ACCESS_KEY"])
headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
canonical = "".join(f"{name}:{value}\n" for name, value in headers.items())
resource = "/devstoreaccount1/devstoreaccount1/suite\nrestype:container"
signed = hmac.new(key, ("PUT" + "\n" * 12 + canonical + resource).encode(), hashlib.sha256).digest()
headers["Authorization"] = f"SharedKey devstoreaccount1:{base64.b64encode(signed).decode()}"
request = urllib.request.Request(f"{endpoint}/suite?restype=container", method="PUT", headers=headers)
for attempt in range(60):
    try:
        urllib.request.urlopen(request)
        break
    except urllib.error.HTTPError as error:
        raise SystemExit(f"cannot make a container: {error} {error.read().decode()}")
    except urllib.error.URLError:
        time.sleep(0.5)
else:
    raise SystemExit("Azurite does not answer")
PYTHON
cargo test --locked -p remote_storage -- --ignored azure
