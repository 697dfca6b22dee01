#!/usr/bin/env bash
# The main job of camada, from nothing to a running container: base images from a signed
# Debian archive, a build in two stages, a run with a memory limit, a change and a rebuild, a
# rollback. Run it by `make demo`. All that it makes stays in bin/demo.
set -euo pipefail
cd "$(dirname "$0")/.."

camada=$PWD/bin/camada
work=$PWD/bin/demo
port=${DEMO_PORT:-18080}
export CAMADA_ROOT=$work/store

bold=''; plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m'; plain=$'\e[0m'; fi
step() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
run() { printf '%s$ camada %s%s\n' "$bold" "$*" "$plain"; "$camada" "$@"; }
fetch() { # what the page says, without a need for curl
  local try
  for try in $(seq 50); do
    if exec 3<>"/dev/tcp/127.0.0.1/$port"; then
      printf 'GET / HTTP/1.0\r\n\r\n' >&3
      sed '1,/^\r$/d' <&3
      exec 3>&-
      return
    fi 2>/dev/null
    sleep 0.1
  done
  echo "the page did not come within 5 seconds" >&2
  return 1
}
cleanup() { "$camada" rm -f web >/dev/null 2>&1 || true; }

if [ -d "$work" ]; then
  cleanup
  chmod -R u+rwX "$work/store" 2>/dev/null || true
  "$camada" system reset --force >/dev/null 2>&1 || rm -rf "$work/store"
fi
mkdir -p "$work/web"
cp examples/web/{Dockerfile,.dockerignore,server.c,page.html} "$work/web/"
trap cleanup EXIT
began=$SECONDS

step "This machine"
run info

step "Base images, straight from the signed Debian archive"
base=(--variant minbase --include tcc,libc6-dev); user=()
if [[ "$("$camada" info)" == *'rootless, 1 id'* ]]; then # no uidmap, no ranges of ids: no scripts of packages that need them, and no user but root
  base=(--variant distroless --include dash,coreutils,tcc,libc6-dev); user=(--user 0)
fi
run base debian "${base[@]}" -t demo/debian
run base debian --variant distroless --include libc6 -t demo/distroless

step "Build the example"
run build -t web "$work/web"
run images

step "Run it with a memory limit and fetch its page"
network=(-p "127.0.0.1:$port:8080"); arguments=()
if [ "$(id -u)" != 0 ] && ! command -v pasta slirp4netns >/dev/null; then
  network=(--network host); arguments=("$port") # a rootless bridge needs pasta or slirp4netns
fi
run run -d --name web --memory 64m "${user[@]}" "${network[@]}" web "${arguments[@]}" ||
  { # where an ordinary user has no cgroup of his own
    "$camada" rm -f web >/dev/null 2>&1 || true
    run run -d --name web "${user[@]}" "${network[@]}" web "${arguments[@]}"
  }
fetch
run ps
run logs web

step "Change one line and build again: what did not change comes from the cache"
sed -i 's/Hello from a camada container/Hello again, after a rebuild/' "$work/web/server.c"
run build -t web "$work/web"
run rm -f web
run run -d --name web "${user[@]}" "${network[@]}" web "${arguments[@]}"
fetch
run rm -f web

step "A tag has a history: go back to the first build"
run log web
run rollback web
run run -d --name web "${user[@]}" "${network[@]}" web "${arguments[@]}"
fetch
run rm -f web
run log web

step "What it takes on disk"
run df
printf '\nAll of this took %d seconds.\n' $((SECONDS - began))
