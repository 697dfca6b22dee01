#!/usr/bin/env bash
# All tests: vet, the linters, the unit tests under the race detector, and the tests that need root.
# TEST_LINT=0 leaves the linters out; TEST_RACE=0 the race detector.
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0

say() { printf '\n== %s\n' "$*"; }

say "vet"
go vet ./...

if [ "${TEST_LINT:-1}" != 0 ]; then
  say "lint"
  make --no-print-directory lint
fi

if [ "${TEST_RACE:-1}" != 0 ] && command -v gcc >/dev/null; then
  say "test, with the race detector"
  CGO_ENABLED=1 go test -race -timeout 55m ./...
else
  say "test (no race detector: it needs gcc)"
  go test -timeout 55m ./...
fi
