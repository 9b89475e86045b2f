#!/usr/bin/env bash
# Runs fuzz targets and closes with a table of what each did; needs cargo-fuzz (installed here if missing).
#   FUZZ_SECONDS    how long each target runs (60)
#   FUZZ_TARGETS    which targets, such as "redo_heap redo_gin" (all)
#   FUZZ_JOBS       how many run at once (1)
#   FUZZ_MAJORS     versions of PostgreSQL, such as "15 18", whose servers make seeds; each runs the
#                   workload of the redo tests, a minute (none: seeds that need no server)
#   FUZZ_DATA_DIRS  data directories of stopped servers whose WAL gives seeds too
source "$(dirname "$0")/common.sh"
cd "$ROOT"
cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked
# libFuzzer's instrumentation sits behind an unstable flag that the stable compiler also has.
export RUSTC_BOOTSTRAP=1
export FUZZ_SECONDS=${FUZZ_SECONDS:-60}
if [ -n "${FUZZ_MAJORS:-}" ]; then
    "$ROOT/scripts/setup.sh" all
    POSTGRES_DISTRIB_DIR="$(postgres_accessible_dir "$ROOT/pg_install" /var/tmp/strata-pg_install)"
    export POSTGRES_DISTRIB_DIR
fi
say "Seeding the corpora with real encodings"
# shellcheck disable=SC2086
cargo run --quiet --locked --manifest-path fuzz/Cargo.toml --example seed_corpus -- \
    fuzz/corpus ${FUZZ_MAJORS:-} ${FUZZ_DATA_DIRS:-}

read -ra targets <<<"${FUZZ_TARGETS:-$(cargo fuzz list | tr '\n' ' ')}"
logs=fuzz/artifacts/logs
mkdir -p "$logs"
for target in "${targets[@]}"; do
    cargo fuzz build --sanitizer none "$target"
done

# An input that is found is kept in fuzz/artifacts/<target>, and the log says how to run it again.
run_target() {
    local log=$2/$1.log
    printf 'running %s for %s s\n' "$1" "$FUZZ_SECONDS"
    cargo fuzz run --sanitizer none "$1" -- \
        -max_total_time="$FUZZ_SECONDS" -rss_limit_mb=4096 -print_final_stats=1 >"$log" 2>&1 && return
    tail -n 40 "$log"
    return 1
}
export -f run_target

# The last line with coverage, and libFuzzer's own counts after it.
report() {
    awk '
        $2 ~ /^[A-Z]/ && /cov: / { for (i = 1; i < NF; i++) if ($i ~ /^(cov|ft|corp):$/) seen[$i] = $(i + 1) }
        /stat::number_of_executed_units/ { executed = $2 }
        /^SUMMARY|panicked at/ { found = 1 }
        END { printf "%14s %9s %9s %13s  %s\n", executed, seen["cov:"], seen["ft:"], seen["corp:"], found ? "FAILED" : "clean" }
    ' "$1"
}

failed=0
printf '%s\n' "${targets[@]}" | xargs -P "${FUZZ_JOBS:-1}" -I{} bash -c 'run_target {} '"$logs" || failed=1
say "Results after $FUZZ_SECONDS s each"
printf '%-24s %14s %9s %9s %13s\n' target executions edges features corpus
for target in "${targets[@]}"; do
    printf '%-24s ' "$target"
    report "$logs/$target.log"
done
exit $failed
