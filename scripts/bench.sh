#!/usr/bin/env bash
# Builds the release binaries and prints the benchmark table; BENCH_SECONDS (10) per point,
# BENCH_TENANTS (2000) idle tenants.
source "$(dirname "$0")/common.sh"
cd "$ROOT"
"$ROOT/scripts/setup.sh" all
cargo build --release --locked --bins
say "Storage of one safekeeper"
cargo bench --locked -q -p safekeeper --bench storage
POSTGRES_DISTRIB_DIR="$(postgres_accessible_dir "$ROOT/pg_install" /var/tmp/strata-pg_install)"
OUTPUT="$(postgres_accessible_dir "$ROOT/test_output" /var/tmp/strata-bench)/bench"
export POSTGRES_DISTRIB_DIR NEON_BIN="${NEON_BIN:-$ROOT/target/release}"
export PYTHONPATH=test_runner
"$ROOT/.venv/bin/python" test_runner/performance/bench.py \
    --output "$OUTPUT" --seconds "${BENCH_SECONDS:-10}" "$@"
"$ROOT/.venv/bin/python" test_runner/performance/commit_cost.py --output "$OUTPUT-cost"
"$ROOT/.venv/bin/python" test_runner/performance/many_tenants.py \
    --output "$OUTPUT-tenants" --tenants "${BENCH_TENANTS:-2000}"
cargo bench -p pageserver --bench layer_read
