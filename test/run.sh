#!/usr/bin/env bash
# All tests: vet, the linters, the unit tests under the race detector, and the tests that need root.
# TEST_LINT=0 leaves the linters out; TEST_RACE=0 the race detector.
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0
# As the program itself is built: so what one step compiles serves the others, and the tests that build camada only link it.
export GOFLAGS="${GOFLAGS:+$GOFLAGS }-trimpath"

say() { printf '\n== %s\n' "$*"; }

say "vet"
go vet ./...

if [ "${TEST_LINT:-1}" != 0 ]; then
  say "lint"
  make --no-print-directory lint
fi

# The tests of whole commands wait much and take longest, so they come first and all others run beside them.
packages="./test $(go list ./... | grep -v '/test$')"
if [ "${TEST_RACE:-1}" != 0 ] && command -v gcc >/dev/null; then
  say "test, with the race detector"
  # shellcheck disable=SC2086
  CGO_ENABLED=1 go test -race -timeout 55m $packages
else
  say "test (no race detector: it needs gcc)"
  # shellcheck disable=SC2086
  go test -timeout 55m $packages
fi
