#!/usr/bin/env bash
# Formatting, clippy with warnings denied, dependency policy, and the house rules.
source "$(dirname "$0")/common.sh"
cd "$ROOT"
"$ROOT/scripts/setup.sh" base
cargo fmt --all --check
cargo clippy --workspace --all-targets --locked --features pageserver/testing,safekeeper/testing -- -D warnings
cargo run --locked --quiet -p xtask -- tidy
if ! cargo deny --version >/dev/null 2>&1; then
    say "Installing cargo-deny"
    cargo install cargo-deny --locked --quiet
fi
cargo deny --all-features check bans licenses sources
