#!/usr/bin/env bash
# Runs every fuzz target for FUZZ_SECONDS each; needs cargo-fuzz (installed here if missing).
# FUZZ_DATA_DIRS names data directories of stopped servers, whose WAL gives real seeds.
source "$(dirname "$0")/common.sh"
cd "$ROOT"
cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked
# libFuzzer's instrumentation sits behind an unstable flag that the stable compiler also has.
export RUSTC_BOOTSTRAP=1
say "Seeding the corpora with real encodings"
# shellcheck disable=SC2086
cargo run --quiet --manifest-path fuzz/Cargo.toml --example seed_corpus -- fuzz/corpus ${FUZZ_DATA_DIRS:-}
for target in $(cargo fuzz list); do
    say "Fuzzing $target for ${FUZZ_SECONDS:-60} s"
    cargo fuzz run --sanitizer none "$target" -- -max_total_time="${FUZZ_SECONDS:-60}" -rss_limit_mb=4096 -print_final_stats=1
done
