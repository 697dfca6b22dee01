#!/usr/bin/env bash
# Boots a machine of its own: Debian with systemd and cgroup v2 alone, and runs something in it.
#
#   test/machine/run.sh                 the checks of checks.sh: lines PASS, FAIL, SKIP and NOTE; exit 1 on a FAIL
#   test/machine/run.sh COMMAND...      a command line of the shell, in a fresh clone of this repository: its output and exit code
#
#   -u           as an ordinary user, in a session of his own, instead of as root
#   -b           the machine has Go, git and make and nothing else that is of use: test/machine/run.sh -bu make demo
#   -p PARTS     only these parts of the checks: test/machine/run.sh -p "units restart"
#   -t SECONDS   the machine is ended after this time (default 600)
#   -v           also what the machine says on its console
#
# CAMADA_TEST_LONG=1 looks at more. Its kernel is Debian's user-mode-linux: an ordinary program, no emulator. Its root file system is a base image that camada
# makes of the archive that this machine's apt is set up for; it is kept in the user's cache directory, and each machine writes
# to a copy. In it are git and make and, for the checks, uidmap, busybox and a helper for rootless networks; Go and its caches are lent by
# this machine, to be read only. It needs root here, user-mode-linux, mke2fs, Go and, for the machine's network, passt.
# Nothing outlives the script but the kept root file system.
set -euo pipefail
cd "$(dirname "$0")/../.."
repo=$PWD

{ # read to its end before it begins: the file may change meanwhile
user=root bare='' parts='' limit=600 verbose=0
while getopts bp:ut:v opt; do
  case $opt in
  b) bare=yes ;;
  p) parts=$OPTARG ;;
  u) user=user ;;
  t) limit=$OPTARG ;;
  v) verbose=1 ;;
  *) exit 2 ;;
  esac
done
shift $((OPTIND - 1))
command=$*

# A machine that cannot be had is no failure: who calls sees the line.
skip() { echo "SKIP  $*"; exit 0; }
[ "$(id -u)" = 0 ] || skip "the machine's root file system is made as root"
for tool in linux.uml:user-mode-linux mke2fs:e2fsprogs go:golang unshare:util-linux timeout:coreutils; do
  command -v "${tool%:*}" >/dev/null || skip "no ${tool%:*} here: install ${tool#*:}"
done

packages=systemd-sysv,dbus,dbus-user-session,libpam-systemd,iproute2,kmod,ca-certificates,git,make,uidmap,busybox-static,passt
size=3G

work=$(mktemp -d "${TMPDIR:-/tmp}/camada-machine-XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
mkdir "$work/lent" "$work/lent/bin" "$work/uml"

export CGO_ENABLED=0
go build -trimpath -o "$work/lent/bin/camada" ./cmd/camada
if [ -z "$command" ]; then
  for package in ${CAMADA_TEST_LONG:+container/cgroup container/cgroup/systemd mount snapshot/overlay}; do
    go test -c -o "$work/lent/bin/${package//\//-}.test" "./$package"
  done
fi

. test/machine/image.sh
image=$(make_image) || skip "no root file system: $image"

# What the machine is told: variables for boot.sh.
{
  for name in user bare command parts CAMADA_TEST_LONG; do printf '%s=%q\n' "$name" "${!name:-}"; done
  for name in GOROOT GOMODCACHE GOCACHE GOPROXY GOFLAGS GONOSUMDB GONOSUMCHECK GOSUMDB; do printf '%s=%q\n' "$name" "$(go env $name)"; done
} >"$work/lent/order"
cp test/machine/boot.sh test/machine/checks.sh "$work/lent/"
git clone -q --bare --depth 1 "file://$repo" "$work/lent/camada.git"
: >"$work/lent/out"

# A command has the network by slirp4netns: the machine is a neighbour of its, behind a bridge in a network namespace of both.
if [ -n "$command" ]; then
  command -v slirp4netns >/dev/null || skip "no slirp4netns here: install slirp4netns"
  printf 'nameserver 10.0.2.3\n' >"$work/lent/resolv.conf"
  mkdir "$work/lent/ca"
  cp -r /usr/local/share/ca-certificates/. "$work/lent/ca/" 2>/dev/null || true
fi
cat >"$work/start" <<'END'
# The first process of the machine's own process namespace: nothing outlives it.
unshare --net bash "$work/machine" &
machine=$!
if [ -n "$command" ]; then
  until [ -e "$work/apart" ]; do sleep 0.1; done
  slirp4netns "$machine" tap0 &
fi
wait "$machine"
END
cat >"$work/machine" <<'END'
: >"$work/apart"
if [ -n "$command" ]; then
  ip link add bridge0 type bridge
  ip tuntap add tap1 mode tap
  for ((i = 0; i < 100; i++)); do
    ip link show tap0 >/dev/null 2>&1 && break
    sleep 0.1
  done
  for link in tap0 tap1; do ip link set "$link" master bridge0 up; done
  ip link set bridge0 up
fi
# Its memory is a file: in /dev/shm, where none is written to a disk. Nor is its disk synced: it ends with the script.
unset TMPDIR TMP TEMP
exec timeout -k 5 "$limit" linux.uml mem=2G umid=machine "uml_dir=$work/uml" "ubd0=$work/cow,$image" root=/dev/ubda rw rootflags=nobarrier "lent=$work/lent" \
  ${command:+eth0=tuntap,tap1} con=null con0=null,fd:1 loglevel=4 selinux=0 apparmor=0 systemd.show_status=false
END
export work image limit command
# It ends with this script, however that ends.
setpriv --pdeathsig KILL unshare --pid --mount-proc --fork --kill-child bash "$work/start" </dev/null >"$work/console" 2>&1 &
machine=$!
trap 'kill -KILL "$machine" 2>/dev/null || true; wait; rm -rf --one-file-system "$work"' EXIT
trap 'exit 143' HUP INT TERM # they end a wait, and no command
[ $verbose = 0 ] || tail -n +1 -s 0.2 --pid="$machine" -f "$work/console" >&2 &
tail -n +1 -s 0.2 --pid="$machine" -f "$work/lent/out" &
wait "$machine" || true
wait # for the last lines

code=$(cat "$work/lent/code" 2>/dev/null) || { tail -n 20 "$work/console"; echo "FAIL  the machine did not get to its end within $limit s"; exit 1; }
[ -n "$command" ] || ! grep -q '^FAIL' "$work/lent/out" || code=1
exit "$code"
}
