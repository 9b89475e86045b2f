#!/usr/bin/env bash
# Checks the redo engine, record by record, against stock servers that run PostgreSQL's own regression
# SQL, our workload and a million transactions. Needs some 40 GB below TMPDIR, and an hour.
source "$(dirname "$0")/common.sh"
cd "$ROOT"
"$ROOT/scripts/setup.sh" all
POSTGRES_SOURCE_DIR="$("$ROOT/scripts/fetch_postgres_source.sh")"
POSTGRES_DISTRIB_DIR="$(postgres_accessible_dir "$ROOT/pg_install" /var/tmp/strata-pg_install)"
export POSTGRES_SOURCE_DIR POSTGRES_DISTRIB_DIR
chmod -R a+rX "$POSTGRES_SOURCE_DIR"
cargo test --release --locked -p wal_redo --test oracle -- --ignored --nocapture
