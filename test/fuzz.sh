#!/usr/bin/env bash
# Runs each fuzz test for a while: test/fuzz.sh [TIME], 30s each by default.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-30s}
grep -rlE --include='*_test.go' '^func Fuzz' . | while read -r file; do
  dir=$(dirname "$file")
  grep -oE '^func Fuzz[A-Za-z0-9_]*' "$file" | sed 's/^func //' | while read -r name; do
    printf '== %s %s\n' "$dir" "$name"
    go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" -fuzzminimizetime 10x "$dir"
  done
done
