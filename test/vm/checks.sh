#!/bin/sh
# The first process of the machine that run.sh boots: sets it up with cgroup v2 alone, checks camada, turns it off.
export PATH=/usr/sbin:/usr/bin HOME=/root CAMADA_ROOT=/var/lib/camada NO_COLOR=1
C=/sys/fs/cgroup

setup() {
	mount -t proc proc /proc
	mount -t sysfs sys /sys
	mount -t tmpfs tmpfs /run
	mount -t tmpfs tmpfs /tmp
	[ -e /dev/null ] || mount -t devtmpfs dev /dev
	mkdir -p /dev/pts /dev/shm
	mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
	mount -t cgroup2 cgroup2 $C
	for c in $(cat $C/cgroup.controllers); do echo "+$c" >$C/cgroup.subtree_control; done
	ip link set lo up
	hostname machine
	for m in overlay veth bridge nf_tables; do modprobe $m || echo "NOTE  no module $m"; done
	echo "NOTE  kernel $(uname -r), controllers: $(cat $C/cgroup.subtree_control)"
}

# check NAME PATTERN COMMAND... passes when the command's output, and its exit code as a last line, match the pattern.
check() {
	name=$1 pattern=$2
	shift 2
	out=$("$@" 2>&1; echo "code $?")
	if echo "$out" | tr '\n' '~' | grep -qE "$pattern"; then
		echo "PASS  $name"
	else
		echo "FAIL  $name: want $pattern, got:"
		echo "$out" | tail -n 20 | sed 's/^/      /'
	fi
}

run() { camada run --network none "$@"; }

image() {
	mkdir -p /root/ctx/rootfs/bin /root/ctx/rootfs/tmp
	cp /usr/bin/busybox /root/ctx/rootfs/bin/
	for a in sh cat ls echo true sleep mkdir mknod dd id mount grep head tail ps stat find wc seq sync rm ip; do
		ln -s busybox /root/ctx/rootfs/bin/$a
	done
	printf 'FROM scratch\nCOPY rootfs /\nRUN echo built > /built && rm /bin/seq && mkdir /new\n' >/root/ctx/Dockerfile
}

as_root() {
	check info 'Cgroups: +v2~.*code 0' camada info
	check build 'code 0' camada build --progress plain -t box /root/ctx
	check "what RUN made is there" '^built~code 0' run --rm box cat /built
	check "what RUN removed is gone" 'code 1' run --rm box ls /bin/seq
	check "save and load" 'code 0' sh -c 'camada save -o /root/box.tar box && camada untag box && camada gc --keep 0s --keep-entries 0 && camada load -i /root/box.tar'
	check "run of the loaded image" '^built~code 0' run --rm box cat /built

	check "memory limit kills" 'code 137' run --name oom --memory 32m box sh -c 'exec tail -c 64m /dev/zero'
	check "inspect says so" '^true~code 0' camada inspect -f '{{.State.OOMKilled}}' oom
	check "memory limit lets live" '^33554432~code 0' run --rm --memory 32m box cat /sys/fs/cgroup/memory.max
	check "cpu limit" '^50000 100000~code 0' run --rm --cpus 0.5 box cat /sys/fs/cgroup/cpu.max
	check "cpu limit throttles" 'nr_throttled [1-9].*code 0' run --rm --cpus 0.5 box sh -c 'i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; cat /sys/fs/cgroup/cpu.stat'
	check "limit of processes" '^10~code 0' run --rm --pids-limit 10 box cat /sys/fs/cgroup/pids.max
	check "limit of processes holds" "can't fork" run --rm --pids-limit 10 box sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1 & done; wait'
	check "all limits at once" '^33554432~200000 100000~9~code 0' run --rm --memory 32m --cpus 2 --pids-limit 9 box sh -c 'cd /sys/fs/cgroup; cat memory.max cpu.max pids.max'

	check "own cgroup namespace" '^0::/~code 0' run --rm box cat /proc/self/cgroup
	check "cgroup files are read-only" 'Read-only' run --rm box sh -c 'echo max >/sys/fs/cgroup/pids.max'
	check "nothing above is seen" '^cgroup2 /sys/fs/cgroup cgroup2 ro,[^~]*~populated 1~' run --rm box sh -c 'grep cgroup /proc/self/mounts; cat /sys/fs/cgroup/cgroup.events; ls -d /sys/fs/cgroup/camada'

	# As with docker, a node can be made; what counts is that nobody opens it.
	check "device filter: no open of a disk" "/tmp/vda: Operation not permitted~code 1" run --rm box sh -c 'mknod /tmp/vda b 254 0 && head -c 1 /tmp/vda'
	check "device filter: nor with more capabilities" "/tmp/vda: Operation not permitted~code 1" run --rm --cap-add SYS_ADMIN,SYS_RAWIO box sh -c 'mknod /tmp/vda b 254 0 && head -c 1 /tmp/vda'
	check "device filter: nor in an exec" "/tmp/vda: Operation not permitted~code 1" sh -c 'camada run -d --rm --name dev --network none box sleep 100 >/dev/null && camada exec dev sh -c "mknod /tmp/vda b 254 0 && head -c 1 /tmp/vda"; code=$?; camada stop -t 0 dev >/dev/null; exit $code'
	check "device filter: null, zero, tty work" '^code 0' run --rm box sh -c 'head -c 10 /dev/zero >/dev/null && head -c 1 /dev/urandom >/dev/null && mknod /tmp/n c 1 3 && echo x >/tmp/n'
	check "device filter: privileged has all" '^code 0' run --rm --privileged box sh -c 'mknod /tmp/vda b 254 0 && head -c 512 /tmp/vda >/dev/null'

	check "in the background" 'code 0' run -d --name job --memory 64m --pids-limit 20 box sleep 1000
	check "one group for it" '^1~code 0' sh -c "ls -d $C/camada/*/ | wc -l"
	check "exec" '^built~0::/~20~code 0' camada exec job sh -c 'cat /built /proc/self/cgroup /sys/fs/cgroup/pids.max'
	check "exec runs inside the limits" "can't fork" camada exec job sh -c 'for i in $(head -c 30 /dev/zero | tr "\0" "x" | sed "s/x/ x/g"); do sleep 1 & done; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21; do sleep 1 & done; wait'
	check "stop" 'code 0' camada stop -t 1 job
	check "state after stop" '^exited 137 false~code 0' camada inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}' job
	check "remove" 'code 0' camada rm oom job
	check "no group is left" '^0~code 0' sh -c "find $C/camada -mindepth 1 -type d 2>/dev/null | wc -l"
	check "bridge" 'inet (10|172|192)\..*eth0~code 0' camada run --rm box sh -c 'ip addr | grep inet | tail -n 1'
	check "gc" 'code 0' camada gc
	check "fsck" 'code 0' camada fsck
	check "no mount is left" '^0~code 0' sh -c 'grep -c camada /proc/self/mounts; true'
}

# user COMMAND... runs as an ordinary user, in the group that is named.
user() {
	group=$1
	shift
	sh -c 'echo $$ >'"$group"'/cgroup.procs
		exec su -s /bin/sh -- user -c "cd && unset CAMADA_ROOT && XDG_RUNTIME_DIR=/run/user/1000 exec \"\$@\"" "$@"' sh sh "$@"
}

as_user() {
	chmod 755 /root /root/ctx
	mkdir -p /run/user/1000 && chown 1000:1000 /run/user/1000
	# Without a delegated group: in the root group, where a user may write nothing.
	check "user: info" 'Cgroups.*code 0' user $C camada info
	check "user: build" 'code 0' user $C camada build --progress plain -t box /root/ctx
	check "user: run without a group" '^built~code 0' user $C camada run --rm --network none box cat /built
	check "user: a limit that cannot be is refused" 'no cgroup can be written to.*code 125' user $C camada run --rm --network none --memory 32m box true

	# With one, as systemd delegates user@1000.service: the directory and three files are the user's, the processes stand below.
	D=$C/user.slice/user-1000.slice/user@1000.service
	mkdir -p $D/session
	for d in $C/user.slice $C/user.slice/user-1000.slice; do
		for c in $(cat $d/cgroup.controllers); do echo "+$c" >$d/cgroup.subtree_control; done
	done
	for d in $D $D/session; do chown 1000:1000 $d $d/cgroup.procs $d/cgroup.subtree_control $d/cgroup.threads; done
	check "delegated: memory limit kills" 'code 137' user $D/session camada run --name oom --network none --memory 32m box tail -c 64m /dev/zero
	check "delegated: inspect says so" '^true~code 0' user $D/session camada inspect -f '{{.State.OOMKilled}}' oom
	check "delegated: limits" '^33554432~50000 100000~9~0::/~code 0' user $D/session camada run --rm --network none --memory 32m --cpus 0.5 --pids-limit 9 box sh -c 'cd /sys/fs/cgroup; cat memory.max cpu.max pids.max /proc/self/cgroup'
	check "delegated: background" 'code 0' user $D/session camada run -d --name job --network none --memory 32m box sleep 1000
	check "delegated: exec" '^0::/~code 0' user $D/session camada exec job cat /proc/self/cgroup
	check "delegated: stop and remove" 'code 0' user $D/session sh -c 'camada stop -t 1 job && camada rm oom job'
	check "delegated: no group is left" '^0~code 0' sh -c "find $D/camada -mindepth 1 -type d 2>/dev/null | wc -l"
	check "delegated: no device of the machine" 'denied|not permitted' user $D/session camada run --rm --network none box mknod /tmp/vda b 254 0
}

# What the kernel has to say of all this.
kernel_log() {
	check "overlayfs was asked for nothing that it does not know" '^code 1' sh -c 'dmesg | grep "unrecognized mount option"'
	check "no process is left" '^code 1' sh -c 'ps -o pid,comm,args | grep -v grep | grep -E "camada|sleep 1000"'
}

# The tests of the packages that know the kernel best.
packages() {
	# tmpfs has no attributes of users before 6.6, which overlays in user namespaces need.
	export TMPDIR=/var/tmp
	mkdir -p $TMPDIR && chmod 1777 $TMPDIR && cd $TMPDIR || return
	for t in /usr/bin/*.test; do
		[ -x $t ] || continue
		out=$($t -test.short -test.timeout 4m -test.v 2>&1)
		code=$?
		echo "$out" | grep -aE '^ *--- SKIP' | sed 's/^/NOTE  /'
		if [ $code = 0 ]; then
			echo "PASS  tests: ${t##*/}"
		else
			echo "FAIL  tests: ${t##*/}"
			echo "$out" | grep -avE '^=== |^ *--- (PASS|SKIP)' | tail -n 60 | sed 's/^/      /'
		fi
	done
}

setup
image
as_root
as_user
kernel_log
packages
echo "END of checks"
sync
poweroff -f
