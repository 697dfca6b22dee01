#!/usr/bin/env bash
# Clones the repository into a fresh Debian that has Go, git and make and nothing else, and types the README's two commands.
#
#   test/fresh.sh [COMMAND...]       default: make demo && make test
#
# It runs as root, in namespaces of its own. It needs mmdebstrap or debootstrap, and takes suite and mirror from this
# machine's apt. The Go toolchain and module cache of this machine are lent to it.
set -euo pipefail
cd "$(dirname "$0")/.."
repo=$PWD
command=${*:-make demo && make test}
work=$(mktemp -d "${TMPDIR:-/tmp}/camada-fresh-XXXXXX")
root=$work/root
goroot=$(go env GOROOT)

cleanup() { rm -rf --one-file-system "$work"; }
trap cleanup EXIT

suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
if command -v mmdebstrap >/dev/null; then
  mmdebstrap --quiet --variant=minbase --include=git,make,ca-certificates "$suite" "$root"
else
  debootstrap --variant=minbase --include=git,make,ca-certificates "$suite" "$root"
fi
cp /etc/resolv.conf /etc/hosts "$root/etc/"
cp -r /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/" 2>/dev/null || true
[ -d /usr/local/share/ca-certificates ] && cp -r /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates/"
mkdir -p "$root$goroot" "$root/repo" "$root/root/camada"

export repo root goroot command
GOFLAGS_KEEP=$(go env GOFLAGS) GOPROXY_KEEP=$(go env GOPROXY)
export GOFLAGS_KEEP GOPROXY_KEEP
unshare -m -p --fork bash -euc '
  mount --make-rprivate /
  mount --bind "$root" "$root"
  mount --bind -o ro "$goroot" "$root$goroot"
  mount --bind -o ro "$repo" "$root/repo"
  mount -t proc proc "$root/proc"
  mount --rbind /sys "$root/sys"
  mount --rbind /dev "$root/dev"
  mount -t tmpfs tmpfs "$root/run"
  # Not a chroot: a process in one may make no user namespaces.
  mkdir -p "$root/.old"
  cd "$root"
  pivot_root . .old
  umount -l /.old
  exec env -i HOME=/root TERM="${TERM:-dumb}" LANG=C.UTF-8 \
    PATH="$goroot/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
    GOPROXY="$GOPROXY_KEEP" GOFLAGS="$GOFLAGS_KEEP" SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    bash -euc "git config --global --add safe.directory \"*\"; (update-ca-certificates >/dev/null 2>&1 || true); git clone -q /repo /root/camada; cd /root/camada; $command"
'
echo "a fresh machine passes: $command"
