# The root file system of the machine: sourced by run.sh, which sets work, packages and size.

# make_image prints the path of the root file system. It is kept in the user's cache directory, and made anew when what makes it
# has changed or a week has gone by.
make_image() {
  local cache=${XDG_CACHE_HOME:-$HOME/.cache}/camada/machine key image
  key=$(cat test/machine/image.sh <(echo "$packages $size") | sha256sum | cut -c 1-12)
  image=$cache/$key.ext4
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock 9 # who comes second takes what the first made
  if [ -z "$(find "$image" -mtime -7 2>/dev/null)" ]; then
    find "$cache" -name "*.ext4" -mtime +0 -delete # another machine may still be running with a newer one
    rm -f "$cache/new"
    fill_image "$work/root" >"$work/image.log" 2>&1 || { tail -n 1 "$work/image.log"; return 1; }
    mke2fs -q -F -t ext4 -E lazy_itable_init=0,nodiscard -d "$work/root" "$cache/new" "$size" >"$work/image.log" 2>&1 || { tail -n 1 "$work/image.log"; return 1; }
    mv "$cache/new" "$image"
    rm -rf --one-file-system "$work/root" "$work/store"
  fi
  exec 9>&-
  echo "$image"
}

# fill_image makes the tree of files.
fill_image() {
  local root=$1 store=$work/store
  mkdir "$root"
  "$work/lent/bin/camada" --root "$store" base debian -q --include "$packages" -t machine || return 1
  "$work/lent/bin/camada" --root "$store" export machine | tar -x -C "$root" --numeric-owner || return 1
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/usr/share/{doc,man,locale}

  echo machine >"$root/etc/hostname"
  printf '127.0.0.1 localhost\n127.0.1.1 machine\n::1 localhost\n' >"$root/etc/hosts"
  echo 'user:x:1000:1000::/home/user:/bin/bash' >>"$root/etc/passwd"
  echo 'user:x:1000:' >>"$root/etc/group"
  echo 'user:!:20000:0:99999:7:::' >>"$root/etc/shadow"
  echo 'user:100000:65536' | tee "$root/etc/subuid" >"$root/etc/subgid"
  cp -r "$root/etc/skel" "$root/home/user" && chown -R 1000:1000 "$root/home/user"
  mkdir -p "$root/lent" "$root/var/lib/systemd/linger" && : >"$root/var/lib/systemd/linger/user"

  # Nothing runs but what the machine was started for.
  local units=$root/etc/systemd/system unit
  ln -sf /lib/systemd/system/multi-user.target "$units/default.target"
  for unit in getty.target getty@.service serial-getty@.service console-getty.service systemd-timesyncd.service apt-daily.timer apt-daily-upgrade.timer \
    dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer ldconfig.service systemd-modules-load.service systemd-random-seed.service systemd-pstore.service \
    systemd-firstboot.service systemd-tmpfiles-clean.timer systemd-update-utmp.service systemd-update-utmp-runlevel.service \
    systemd-journal-flush.service systemd-machine-id-commit.service dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount; do
    ln -sf /dev/null "$units/$unit"
  done
  # What does not end by itself is killed soon, at a restart too.
  mkdir -p "$root/etc/systemd/system.conf.d" && printf '[Manager]\nDefaultTimeoutStopSec=10s\n' >"$root/etc/systemd/system.conf.d/stop.conf"
  cat >"$units/machine.service" <<'END'
[Unit]
Description=What this machine was started for
After=multi-user.target user@1000.service
Wants=user@1000.service

[Service]
Type=oneshot
ExecStart=/lib/start-machine
TimeoutStartSec=infinity
KillMode=process

[Install]
WantedBy=multi-user.target
END
  mkdir -p "$units/multi-user.target.wants"
  ln -sf ../machine.service "$units/multi-user.target.wants/machine.service"
  cat >"$root/lib/start-machine" <<'END'
#!/bin/sh
# Takes what the host lends, and begins. The kernel's command line says where it is.
for word in $(cat /proc/cmdline); do
  case $word in
  lent=*) mount -t hostfs -o "${word#lent=}" none /lent ;;
  esac
done
mkdir -p /lib/modules && mount -t hostfs -o ro,/usr/lib/uml/modules none /lib/modules
exec /bin/bash /lent/boot.sh
END
  chmod 755 "$root/lib/start-machine"
}
