#!/usr/bin/env bash
# What the start of the binary costs before main: the packages whose initialisation takes longest, the median of 15 starts.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x bin/camada ] || make --no-print-directory build
for _ in $(seq 15); do
  GODEBUG=inittrace=1 bin/camada version 2>&1 >/dev/null | awk '$1 == "init" { sum += $5; print $2, $5 } END { print "TOTAL", sum }'
done | sort | awk '
  $1 != name { flush() ; name = $1; n = 0 }
  { values[n++] = $2 }
  function flush() { if (name != "") printf "%8.3f ms  %s\n", values[int(n / 2)], name }
  END { flush() }' | sort -rn | head -15
