#!/usr/bin/env bash
# Benchmarks of redo and ingest, and the WAL that page images cost. docs/performance-redo.md has the results.
source "$(dirname "$0")/common.sh"
cd "$ROOT"
"$ROOT/scripts/setup.sh" all
cargo bench --locked -p wal_redo_process --bench redo
cargo bench --locked -p pageserver --bench ingest
POSTGRES_DISTRIB_DIR="$(postgres_accessible_dir "$ROOT/pg_install" /var/tmp/strata-pg_install)"
OUTPUT="$(postgres_accessible_dir "$ROOT/test_output" /var/tmp/strata-bench)/wal_volume"
export POSTGRES_DISTRIB_DIR
PYTHONPATH=test_runner exec "$ROOT/.venv/bin/python" test_runner/performance/wal_volume.py --output "$OUTPUT"
