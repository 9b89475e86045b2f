#!/usr/bin/env bash
# Runs the tests and closes with their counts. Arguments: rust, python, or nothing for both.
source "$(dirname "$0")/common.sh"
cd "$ROOT"
which=${1:-all}
failed=0
summary=$(mktemp)
trap 'rm -f "$summary"' EXIT
FEATURES=pageserver/testing,safekeeper/testing

"$ROOT/scripts/setup.sh" all

# Tests of several majors find their servers here.
export POSTGRES_DISTRIB_DIR
POSTGRES_DISTRIB_DIR="$(postgres_accessible_dir "$ROOT/pg_install" /var/tmp/strata-pg_install)"

say "Building the test binaries"
cargo build --locked --bins --features $FEATURES

if [ "$which" != python ]; then
    say "Rust tests"
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --locked --workspace --features $FEATURES --no-fail-fast 2>&1 | tee "$summary.rust" || failed=1
    else
        cargo test --locked --workspace --features $FEATURES --no-fail-fast 2>&1 | tee "$summary.rust" || failed=1
    fi
    say "House rules"
    cargo fmt --all --check || failed=1
    cargo run --locked --quiet -p xtask -- tidy || failed=1
fi

if [ "$which" != rust ]; then
    say "pytest suite"
    export NEON_BIN TEST_OUTPUT
    NEON_BIN="${NEON_BIN:-$ROOT/target/debug}"
    TEST_OUTPUT="${TEST_OUTPUT:-$(postgres_accessible_dir "$ROOT/test_output" "$(mktemp -d /var/tmp/strata-test.XXXXXX)")}"
    chmod a+rx "$TEST_OUTPUT"
    # shellcheck disable=SC2086
    "$ROOT/.venv/bin/pytest" -n "${PYTEST_WORKERS:-2}" --dist loadgroup test_runner/regress ${PYTEST_ARGS:-} 2>&1 | tee "$summary.python" || failed=1
fi

say "Counts"
[ -f "$summary.rust" ] && { grep -E 'Summary|^test result' "$summary.rust" || true; }
[ -f "$summary.python" ] && { tail -n 1 "$summary.python"; }
rm -f "$summary".*
exit $failed
