# Shared by the scripts in this directory; sourced, not run.

set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else die "'$*' needs root; run it as root or install sudo"
    fi
}

# PostgreSQL refuses to run as root: there its account is `postgres`.
# Prints $1 if that account can work below it, else a directory where it can.
postgres_accessible_dir() {
    local wanted=$1 fallback=$2
    if [ "$(id -u)" != 0 ]; then echo "$wanted"; return; fi
    mkdir -p "$wanted"
    if runuser -u postgres -- test -x "$wanted" 2>/dev/null; then echo "$wanted"; else echo "$fallback"; fi
}
