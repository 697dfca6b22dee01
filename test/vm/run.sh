#!/usr/bin/env bash
# Boots a small machine that has cgroup v2 alone and an older kernel, runs checks.sh in it, and prints its lines:
#
#   test/vm/run.sh                  PASS, FAIL and SKIP lines; exit 1 on a FAIL, or when the machine did not get to its end
#   test/vm/run.sh -v               also what the machine says
#
# The machine is qemu without hardware support (VM_ACCEL=kvm takes it where that is allowed). Its root file system and
# its kernel are a base image made by camada itself, from the archive that this machine's apt is set up for. It needs root, a
# Debian system, qemu-system-x86_64, busybox (static), mke2fs and Go. Nothing is left but the kept store, when VM_STORE names one.
set -euo pipefail
cd "$(dirname "$0")/../.."

verbose=0
[ "${1:-}" = -v ] && verbose=1
for tool in qemu-system-x86_64 busybox mke2fs go timeout unshare; do
  command -v "$tool" >/dev/null || { echo "SKIP  no $tool on this machine"; exit 0; }
done
[ "$(id -u)" = 0 ] || { echo "SKIP  the root file system of the machine is made as root"; exit 0; }
[ "$(uname -m)" = x86_64 ] || { echo "SKIP  the machine is an x86_64 one"; exit 0; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root" "$work/initrd"

# The programs under test.
export CGO_ENABLED=0
mkdir "$work/bin"
go build -o "$work/bin/camada" ./cmd/camada
for pkg in ${VM_PACKAGES-container/cgroup mount snapshot/overlay}; do
  go test -c -o "$work/bin/$(echo "$pkg" | tr / -).test" "./$pkg"
done

# The root file system, with a kernel. No script of a package runs: "distroless" takes the files alone.
export CAMADA_ROOT=${VM_STORE:-$work/store}
"$work/bin/camada" base debian -q --variant distroless --include busybox-static,uidmap,linux-image-cloud-amd64 -t machine >"$work/base.log" 2>&1 ||
  { echo "SKIP  no base image: $(tail -n 1 "$work/base.log")"; exit 0; }
"$work/bin/camada" export machine | tar -x -C "$root" --numeric-owner
rm -rf "$root"/usr/share/doc "$root"/usr/share/man "$root"/usr/share/locale
kernel=$(echo "$root"/boot/vmlinuz-*)
version=${kernel#*/vmlinuz-}
mv "$kernel" "$work/vmlinuz"
chroot "$root" /sbin/depmod "$version"
cp "$work"/bin/* "$root/usr/bin/"
mkdir -p "$root/lib/checks" && cp test/vm/checks.sh "$root/lib/checks/"
for a in $("$root/usr/bin/busybox" --list); do
  [ -e "$root/usr/bin/$a" ] || ln -s busybox "$root/usr/bin/$a"
done
echo 'user:x:1000:1000::/home/user:/bin/sh' >>"$root/etc/passwd"
echo 'user:x:1000:' >>"$root/etc/group"
echo 'user:100000:65536' | tee "$root/etc/subuid" >"$root/etc/subgid"
mkdir -p "$root/home/user" && chown 1000:1000 "$root/home/user"
mke2fs -q -F -t ext4 -d "$root" "$work/disk" 2G >/dev/null

# The first file system has what is needed to find the disk.
mkdir -p "$work"/initrd/{bin,mnt,dev,proc,sys,lib}
cp "$root/usr/bin/busybox" "$work/initrd/bin/"
modules=lib/modules/$version
sed -nE 's,^[^ ]*/virtio_(pci|blk)\.ko[^ ]*:,&,p' "$root/$modules/modules.dep" | tr -d : | tr ' ' '\n' | sort -u | grep . |
  (cd "$root/$modules" && tar -c -T - modules.dep) | (mkdir -p "$work/initrd/$modules" && tar -x -C "$work/initrd/$modules")
cat >"$work/initrd/init" <<'END'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for m in virtio_pci virtio_blk; do /bin/busybox modprobe $m; done
for i in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/vda ] || /bin/busybox sleep 0.3; done
/bin/busybox mount -t ext4 /dev/vda /mnt && exec /bin/busybox switch_root /mnt /bin/sh /lib/checks/checks.sh
/bin/busybox poweroff -f
END
chmod 755 "$work/initrd/init"
(cd "$work/initrd" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$work/initrd.gz"

# A process namespace of its own, so that nothing outlives the time.
{
  unshare --pid --fork --kill-child timeout -k 5 "${VM_TIMEOUT:-600}" \
    qemu-system-x86_64 -machine "q35,accel=${VM_ACCEL:-tcg}" -cpu max -smp 2 -m 1024 -nographic -no-reboot -net none \
    -drive "file=$work/disk,format=raw,if=virtio,cache=unsafe" -kernel "$work/vmlinuz" -initrd "$work/initrd.gz" \
    -append 'console=ttyS0 quiet loglevel=2 panic=-1 random.trust_cpu=on cgroup_no_v1=all' </dev/null 2>&1 || echo "the machine ended with $?"
} | tr -d '\r' | tee "$work/log" | if [ $verbose = 1 ]; then cat; else grep -aE '^(PASS|FAIL|SKIP|NOTE|     ) ' || true; fi

grep -aq '^END of checks' "$work/log" || { tail -n 20 "$work/log"; echo "FAIL  the machine did not get to the end of the checks"; exit 1; }
! grep -aq '^FAIL ' "$work/log"
