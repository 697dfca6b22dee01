#!/bin/bash
# The one service of the machine: does what run.sh ordered, and turns the machine off. What is said goes to the file out,
# the exit code to the file code; both are the host's.
cd /lent || exit 1
exec >>out 2>&1
. ./order # user, bare, command, parts, and Go's settings
export HOME=/root NO_COLOR=1 LANG=C.UTF-8
export PATH=$GOROOT/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# lend DIRECTORY [NAME] shows a directory of the host at the same place, to be read only; with NAME, what is written there stays in the machine.
lend() {
	mkdir -p "$1"
	[ -z "$2" ] && { mount -t hostfs -o "ro,$1" none "$1"; return; }
	mkdir -p "/var/lib/lent/$2/below" "/var/lib/lent/$2/upper" "/var/lib/lent/$2/work"
	mount -t hostfs -o "ro,$1" none "/var/lib/lent/$2/below" &&
		mount -t overlay -o "lowerdir=/var/lib/lent/$2/below,upperdir=/var/lib/lent/$2/upper,workdir=/var/lib/lent/$2/work" none "$1"
}

# as_user COMMAND... runs it in the user's session, as systemd delegates it.
as_user() {
	runuser -u user -- env -C /home/user HOME=/home/user USER=user LOGNAME=user XDG_RUNTIME_DIR=/run/user/1000 \
		DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus \
		systemd-run --user --quiet --pipe --wait --collect -p Delegate=yes -E PATH="$PATH" -E NO_COLOR=1 "$@"
}

network() {
	[ -d /sys/class/net/eth0 ] || return
	ip addr add 10.0.2.15/24 dev eth0 && ip link set eth0 up && ip route add default via 10.0.2.2
	cp /lent/resolv.conf /etc/resolv.conf
	cat ca/*.crt >>/etc/ssl/certs/ca-certificates.crt 2>/dev/null
}

boots=$(($(cat /var/lib/boots 2>/dev/null || echo 0) + 1))
echo $boots >/var/lib/boots
network
modprobe tun && chmod 666 /dev/net/tun # as udev does
install bin/* /usr/local/bin/
if [ -z "$command" ]; then
	. ./checks.sh
	checks $boots
else
	[ -z "$bare" ] || rm /usr/bin/{newuidmap,newgidmap,busybox,passt,pasta,slirp4netns}* 2>/dev/null
	lend "$GOROOT"
	lend "$GOMODCACHE" modules
	lend "$GOCACHE" cache
	home=/root
	if [ "$user" = user ]; then
		home=/home/user
		chmod 711 /root # the way to what is lent
		chown user "$GOCACHE" "$GOCACHE"/*/
	fi
	git config --system --add safe.directory '*'
	git clone -q /lent/camada.git $home/camada && chown -R $user: $home/camada
	set -- env GOMODCACHE="$GOMODCACHE" GOCACHE="$GOCACHE" GOPROXY="$GOPROXY" GOFLAGS="$GOFLAGS" GOSUMDB="$GOSUMDB" \
		sh -c "cd $home/camada && $command"
	if [ "$user" = root ]; then "$@"; else as_user "$@"; fi
	code=$?
fi
if [ "$code" = reboot ]; then
	systemctl reboot
else
	echo "$code" >code
	sync
	systemctl poweroff
fi
