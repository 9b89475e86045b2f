#!/usr/bin/env bash
# Checks the redo engine, record by record, against stock servers that run PostgreSQL's own regression
# SQL, our workload and a million transactions; then every block of a timeline against a standby's.
# ORACLE_MAJORS ("15 16 17 18") chooses versions; ORACLE_JOBS (2) of them go side by side, each of
# which needs 6 GB below TMPDIR. All four take 17 minutes on two cores that have other work.
source "$(dirname "$0")/common.sh"
cd "$ROOT"
"$ROOT/scripts/setup.sh" all
POSTGRES_SOURCE_DIR="$("$ROOT/scripts/fetch_postgres_source.sh")"
POSTGRES_DISTRIB_DIR="$(postgres_accessible_dir "$ROOT/pg_install" /var/tmp/strata-pg_install)"
export POSTGRES_SOURCE_DIR POSTGRES_DISTRIB_DIR
chmod -R a+rX "$POSTGRES_SOURCE_DIR"
export ORACLE_JOBS=${ORACLE_JOBS:-2}
cargo test --release --locked -p wal_redo --test oracle -- --ignored --nocapture
cargo test --locked -p pageserver --features testing --lib -- ingest::tests::standby --include-ignored --nocapture
