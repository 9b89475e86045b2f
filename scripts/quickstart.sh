#!/usr/bin/env bash
# From a clean clone to a running, loaded and branched cluster. `up` may be repeated; `down` stops it.
source "$(dirname "$0")/common.sh"
cd "$ROOT"
BIN=${NEON_BIN:-$ROOT/target/release}
PG=/usr/lib/postgresql/15/bin
export POSTGRES_DISTRIB_DIR=${POSTGRES_DISTRIB_DIR:-/usr/lib/postgresql}

repo_dir() {
    if [ -n "${NEON_REPO_DIR:-}" ]; then echo "$NEON_REPO_DIR"; return; fi
    local probe
    probe=$(postgres_accessible_dir "$ROOT" /var/tmp/strata-quickstart)
    if [ "$probe" = "$ROOT" ]; then echo "$ROOT/.neon"; else echo "$probe"; fi
}

field() { # endpoint, key of endpoint.json
    sed -nE "s/.*\"$2\": *\"?([^\",}]+)\"?.*/\1/p" "$NEON_REPO_DIR/endpoints/$1/endpoint.json" | head -n 1
}

connection() { echo "postgresql://cloud_admin@127.0.0.1:$(field "$1" pg_port)/postgres"; }

query() { "$PG/psql" -X -At -q -c "$2" "$(connection "$1")"; }

history_of() {
    printf '    %-22s %8s accounts  %8s transactions  sum of balances %s\n' "$1" \
        "$(query "$1" 'SELECT count(*) FROM pgbench_accounts')" \
        "$(query "$1" 'SELECT count(*) FROM pgbench_history')" \
        "$(query "$1" 'SELECT sum(abalance) FROM pgbench_accounts')"
}

start_endpoint() { # endpoint, branch
    [ -d "$NEON_REPO_DIR/endpoints/$1" ] || "$BIN/neon_local" endpoint create "$1" --branch-name "$2" >/dev/null
    if "$PG/pg_isready" -q -h 127.0.0.1 -p "$(field "$1" pg_port)"; then return; fi
    "$BIN/neon_local" endpoint start "$1"
}

up() {
    "$ROOT/scripts/setup.sh" base
    say "Building the release binaries (minutes the first time, nothing the second)"
    cargo build --release --locked --bins
    say "Starting one broker, three safekeepers and one pageserver in $NEON_REPO_DIR"
    [ -f "$NEON_REPO_DIR/config" ] || "$BIN/neon_local" init --force empty-dir-ok
    "$BIN/neon_local" start
    if ! "$BIN/neon_local" tenant list | grep -q .; then
        "$BIN/neon_local" tenant create --set-default
    fi

    say "Starting stock PostgreSQL 15 on branch 'main'"
    start_endpoint main main
    say "Loading pgbench, scale 10"
    "$PG/pgbench" -i -s 10 -q "$(connection main)" 2>&1 | grep -E 'done in' || die "pgbench -i failed; see $NEON_REPO_DIR/endpoints/main/compute.log"
    before=$(query main 'SELECT pg_current_wal_flush_lsn()')
    say "Running pgbench for 20 s (every commit is on two of three safekeepers before it returns)"
    "$PG/pgbench" -c 4 -T 20 -n "$(connection main)" 2>/dev/null | grep -E 'latency average|tps|processed'

    branch="before-run-$(date +%H%M%S)"
    say "Branching at $before, the moment before the run"
    "$BIN/neon_local" timeline branch --branch-name "$branch" --ancestor-start-lsn "$before"
    start_endpoint "$branch" "$branch"

    say "Two histories"
    history_of main
    history_of "$branch"
    [ "$(query "$branch" 'SELECT count(*) FROM pgbench_history')" = 0 ] || die "the branch shows transactions of after its moment"
    [ "$(query main 'SELECT count(*) FROM pgbench_history')" != 0 ] || die "main lost its transactions"

    say "It is yours"
    cat <<TXT
    main:     $PG/psql $(connection main)
    branch:   $PG/psql $(connection "$branch")

    logs:     $NEON_REPO_DIR/pageserver_1/pageserver.log
              $NEON_REPO_DIR/safekeepers/sk{1,2,3}/safekeeper-{1,2,3}.log
              $NEON_REPO_DIR/storage_broker.log
              $NEON_REPO_DIR/endpoints/<name>/compute.log

    more:     export NEON_REPO_DIR=$NEON_REPO_DIR
              $BIN/neon_local --help
    stop:     make quickstart-down          (DESTROY=1 removes the data too)
TXT
}

down() {
    [ -f "$NEON_REPO_DIR/config" ] || { say "Nothing to stop: no cluster in $NEON_REPO_DIR"; return; }
    "$BIN/neon_local" stop
    if [ "${DESTROY:-}" = 1 ]; then
        say "Removing $NEON_REPO_DIR"
        rm -rf "$NEON_REPO_DIR"
    fi
}

NEON_REPO_DIR=$(repo_dir)
export NEON_REPO_DIR
case "${1:-up}" in
    up) up ;;
    down) down ;;
    *) die "usage: $0 up|down" ;;
esac
