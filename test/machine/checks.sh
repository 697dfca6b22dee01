# What is looked at in the machine: sourced by boot.sh. It writes lines PASS, FAIL, SKIP and NOTE, and sets code: the exit code, or
# "reboot", after which checks is called again.
C=/sys/fs/cgroup

# check NAME PATTERN COMMAND... passes when the command's output, and its exit code as a last line, match the pattern.
check() {
	local name=$1 pattern=$2 out
	shift 2
	out=$("$@" 2>&1 </dev/null; echo "code $?")
	if tr '\n' '~' <<<"$out" | grep -qE "$pattern"; then
		echo "PASS  $name"
	else
		echo "FAIL  $name: want $pattern, got:"
		tail -n 20 <<<"$out" | sed 's/^/      /'
	fi
}

# more is check where the time does not matter.
more() { [ -z "$CAMADA_TEST_LONG" ] || check "$@"; }

# soon NAME PATTERN COMMAND... is check for what others are doing meanwhile, which may take half a minute.
soon() {
	local pattern=$2 end=$((SECONDS + 30))
	while [ $SECONDS -lt $end ]; do
		("${@:3}" 2>&1 </dev/null; echo "code $?") | tr '\n' '~' | grep -qE "$pattern" && break
		sleep 0.2
	done
	check "$@"
}

run() { camada run --network none "$@"; }

# login COMMAND runs a shell's command line as after a login by ssh: in a session scope that belongs to root.
login() { su -l user -c "PATH=$PATH; export NO_COLOR=1; $1"; }

make_image() {
	mkdir -p /srv/box/rootfs/{bin,dev,proc,sys,tmp}
	cp /usr/bin/busybox /srv/box/rootfs/bin/
	local a
	for a in sh cat ls echo true sleep mkdir mknod dd id mount grep head tail ps stat find wc seq sync rm ip chown; do
		ln -s busybox /srv/box/rootfs/bin/$a
	done
	printf 'FROM scratch\nCOPY rootfs /\nRUN echo built > /built && rm /bin/seq && mkdir /new && chown 7:8 /new\n' >/srv/box/Dockerfile
}

limits() {
	more "what RUN made is there" '^built~code 0' run --rm box cat /built
	check "memory limit kills, and inspect says so" '^137 true~code 0' sh -c "camada run --network none --name oom --memory 32m box sh -c 'exec tail -c 64m /dev/zero'; camada inspect -f '{{.State.ExitCode}} {{.State.OOMKilled}}' oom"
	more "cpu limit throttles" 'nr_throttled [1-9].*code 0' run --rm --cpus 0.5 box sh -c 'i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; cat /sys/fs/cgroup/cpu.stat'
	more "limit of processes holds" "can't fork" run --rm --pids-limit 10 box sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1 & done; wait'
	check "all limits at once" '^33554432~90000 100000~9~code 0' run --rm --memory 32m --cpus 0.9 --pids-limit 9 box sh -c 'cd /sys/fs/cgroup; cat memory.max cpu.max pids.max'
	more "own cgroup namespace" '^0::/~code 0' run --rm box cat /proc/self/cgroup
	more "cgroup files are read-only" 'Read-only' run --rm box sh -c 'echo max >/sys/fs/cgroup/pids.max'
	check "nothing above is seen" '^cgroup2 /sys/fs/cgroup cgroup2 ro,[^~]*~populated 1~' run --rm box sh -c 'grep cgroup /proc/self/mounts; cat /sys/fs/cgroup/cgroup.events; ls -d /sys/fs/cgroup/camada'
	# As with docker, a node can be made; what counts is that nobody opens it.
	check "device filter: no open of a disk" "/tmp/disk: Operation not permitted~code 1" run --rm box sh -c "mknod /tmp/disk b $disk && head -c 1 /tmp/disk"
	more "device filter: nor in an exec" "/tmp/disk: Operation not permitted~code 1" sh -c "camada run -d --rm --name dev --network none box sleep 100 >/dev/null && camada exec dev sh -c 'mknod /tmp/disk b $disk && head -c 1 /tmp/disk'; code=\$?; camada stop -t 0 dev >/dev/null; exit \$code"
	more "device filter: null, zero, tty work" '^code 0' run --rm box sh -c 'head -c 10 /dev/zero >/dev/null && head -c 1 /dev/urandom >/dev/null && mknod /tmp/n c 1 3 && echo x >/tmp/n'
	more "device filter: privileged has all" '^code 0' run --rm --privileged box sh -c "mknod /tmp/disk b $disk && head -c 512 /tmp/disk >/dev/null"
	check "in the background" 'code 0' run -d --name job --memory 64m --pids-limit 20 box sleep 1000
	check "systemd reads its units again, and the limits stay" '^67108864~20~code 0' sh -c 'systemctl daemon-reload && camada exec job cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max'
	check "pause" '^paused~1~code 0' sh -c "camada pause job >/dev/null && camada inspect -f '{{.State.Status}}' job && cat $C/camada/*/cgroup.freeze && camada unpause job >/dev/null"
	check "stop" '^exited 137 false~code 0' sh -c "camada stop -t 1 job >/dev/null; camada inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}' job"
	check "remove" 'code 0' camada rm oom job
	check "no group is left" '^0~code 0' sh -c "find $C/camada -mindepth 1 -type d 2>/dev/null | wc -l"
}

# networks: Debian's kernel of this kind has no nftables for IPv4, so bridges lead to this machine alone, and ports are relayed.
networks() {
	camada network create other >/dev/null
	check "bridge: the user is told" 'warning: this kernel.*nftables.*code 0' camada run -d --name web -p 127.0.0.1:8080:80 box sh -c 'mkdir /tmp/www && echo page >/tmp/www/index.html && busybox httpd -f -p 80 -h /tmp/www'
	soon "bridge: a published port" '^page~code 0' busybox wget -qO- http://127.0.0.1:8080/
	address=$(camada inspect -f '{{.NetworkSettings.IPAddress}}' web)
	more "bridge: a neighbour" 'page~code 0' camada run --rm box busybox wget -qO- "http://$address/"
	check "bridge: beyond is told" '[Nn]etwork is unreachable' camada run --rm box busybox nc -w 5 192.0.2.1 80
	check "bridge: other networks are apart" '[Nn]etwork is unreachable' camada run --rm --network other box busybox nc -w 5 "$address" 80
	more "bridge: nothing is forwarded" '^0~code 0' cat /proc/sys/net/ipv4/ip_forward
	more "bridge: a build" 'warning: this kernel.*code 0' sh -c 'echo "FROM box
RUN ip addr | grep eth0" | camada build --progress plain -'
	camada rm -f web >/dev/null
	more "bridge: networks go" 'code 0' camada network rm other
	check "bridge: a host that forwards keeps them apart by nftables only" 'this kernel.*nftables.*ip_forward.*code 125' sh -c 'ip link del camada0; rm -r /run/camada/network; echo 1 >/proc/sys/net/ipv4/ip_forward; camada run --rm box true'
	echo 0 >/proc/sys/net/ipv4/ip_forward
}

# bundle COMMAND DIRECTORY [FLAG] makes a bundle that sleeps.
bundle() {
	$1 sh -c "mkdir -p $2 && cd $2 && camada runtime spec $3 && ln -sfn /srv/box/rootfs rootfs &&
		sed -i 's/\"terminal\": true/\"terminal\": false/; s/\"sh\"/\"sleep\", \"1000\"/' config.json"
}

# oci WHO COMMAND FLAG SLICE BUNDLE: the OCI runtime with systemd's driver, root's or an ordinary user's.
oci() {
	local who=$1 as=$2 ctl="systemctl $3" slice=$4 dir=$5
	bundle "$as" $dir ${3:+--rootless}
	check "$who scope: run" 'code 0' $as sh -c "cd $dir && { camada runtime --log log --systemd-cgroup run -d web >/dev/null 2>&1 </dev/null || { cat log; false; }; }"
	more "$who scope: systemd knows it" "Slice=$slice~.*Delegate=yes~.*ActiveState=active~.*code 0" $as $ctl show -p ActiveState,Slice,Delegate camada-web.scope
	check "$who scope: limits, and systemd reads its units again" '^33554432~code 0' $as sh -c "camada runtime update --memory 33554432 web && $ctl daemon-reload &&
		cat $C\$($ctl show -P ControlGroup camada-web.scope)/container/memory.max"
	more "$who scope: exec is in it" '^0::/~code 0' $as camada runtime exec web cat /proc/self/cgroup
	more "$who scope: pause and resume" '^1~0~code 0' $as sh -c "g=$C\$($ctl show -P ControlGroup camada-web.scope)/container
		camada runtime pause web && cat \$g/cgroup.freeze && camada runtime resume web && cat \$g/cgroup.freeze"
	check "$who scope: systemd ends it" 'code 0' $as $ctl stop camada-web.scope
	soon "$who scope: it has ended" 'stopped' $as camada runtime state web
	check "$who scope: delete" 'code 0' $as camada runtime delete web
	more "$who scope: it is gone" 'LoadState=not-found' $as $ctl show -p LoadState camada-web.scope
}

scopes() { oci root "" "" system.slice /run/web; }

user_scopes() { oci user as_user --user user.slice /home/user/web; }

# units: containers that systemd looks after.
units() {
	local unit=container-unit.service
	check "unit: write" 'code 0' sh -c "camada create --name unit --network none --memory 32m box sh -c 'echo in the unit; trap exit TERM; sleep 1000 & wait' &&
		cd /etc/systemd/system && camada generate systemd --new --files --name --restart-policy always -t 1 unit && camada rm unit"
	more "unit: systemd finds no fault" '^code 0' systemd-analyze verify /etc/systemd/system/$unit
	check "unit: enable" 'code 0' systemctl enable --now $unit
	soon "unit: the container runs" '^true~code 0' camada inspect -f '{{.State.Running}}' unit
	more "unit: with its limit" '^33554432~code 0' camada exec unit cat /sys/fs/cgroup/memory.max
	more "unit: the journal has its output" 'in the unit' journalctl -u $unit
	check "unit: kill" 'code 0' sh -c "camada inspect -f '{{.Id}}' unit >/run/unit && camada kill unit"
	soon "unit: systemd starts another" '^true~code 0' sh -c "[ \$(camada inspect -f '{{.Id}}' unit) != \$(cat /run/unit) ] && camada inspect -f '{{.State.Running}}' unit"
	more "unit: stop" '^inactive~code' sh -c "systemctl stop $unit; systemctl is-active $unit"
	more "unit: the container is removed" 'code 1' camada inspect unit
	systemctl start $unit
}

journal() {
	check "journald: run" 'code 0' run -d --name talks --log-driver journald box sh -c 'echo to the journal; exec sleep 1000'
	soon "journald: the journal has it" '"MESSAGE":"to the journal"' journalctl -o json CONTAINER_NAME=talks
	check "journald: end" 'code 0' camada rm -f talks
}

# restart and restarted: the machine is started again in between. Containers end with code 7 when they are asked to.
restart() {
	local program='trap "exit 7" TERM; sleep 1000 & wait'
	check "restart: always" 'code 0' run -d --name always --restart always box sh -c "$program"
	check "restart: unless-stopped" 'code 0' run -d --name unless --restart unless-stopped box sh -c "$program"
	check "restart: one that the user stopped" 'code 0' sh -c 'camada run -d --name stopped --restart unless-stopped --network none box sleep 1000 && camada stop -t 0 stopped'
	user_box
	check "restart: a user's" 'code 0' as_user camada run -d --name always --restart always --network none box sh -c "$program"
	check "service: it starts a container and ends, and the container goes on" '^true~code 0' sh -c 'systemd-run --quiet --wait --collect camada run -d --name job --network none box sleep 1000 &&
		camada inspect -f "{{.State.Running}}" job && camada rm -f job >/dev/null'
	code=reboot
}

restarted() {
	[ ! -e /etc/systemd/system/container-unit.service ] || soon "started again: the unit is up" '^true~code 0' camada inspect -f '{{.State.Running}}' unit
	check "started again: what ran was stopped in order" '^exited 7~exited 7~code 0' camada inspect -f '{{.State.Status}} {{.State.ExitCode}}' always unless
	check "started again: a user's was, too" '^exited 7~code 0' as_user camada inspect -f '{{.State.Status}} {{.State.ExitCode}}' always
	check "started again: camada system start" '^always~unless~always~unless~code 0' sh -c "camada system start && camada ps --format '{{.Names}}' | grep -v unit | sort"
	check "started again: a user's" '^always~always Up.*code 0' as_user sh -c "camada system start && camada ps --format '{{.Names}} {{.Status}}'"
	more "started again: fsck" 'code 0' camada fsck
	as_user camada rm -f always >/dev/null
	systemctl disable --now container-unit.service 2>/dev/null
	camada rm -f always unless stopped >/dev/null
	check "gc" 'code 0' camada gc
	check "no group is left" '^0~code 0' sh -c "find $C/camada -mindepth 1 -type d 2>/dev/null | wc -l"
	check "no mount is left" '^0~code 0' sh -c 'grep -c camada/ /proc/self/mounts; true'
	check "no process is left" '^code 1' sh -c 'busybox ps -o args | grep -v grep | grep -E "container-monitor|sleep 1000"'
}

user_box() { as_user camada image inspect box >/dev/null 2>&1 || check "user: build" 'code 0' as_user camada build --progress plain -t box /srv/box; }

# users: an ordinary user with ranges of ids, in a session that is delegated, and as he comes by ssh.
users() {
	check "user: info" 'Cgroups: +v2~.*code 0' as_user camada info
	user_box
	check "user: ids of the ranges" '^7:8~code 0' as_user camada run --rm --network none box stat -c %u:%g /new
	check "user: memory limit kills" 'code 137' as_user camada run --name oom --network none --memory 32m box tail -c 64m /dev/zero
	more "user: inspect says so" '^true~code 0' as_user camada inspect -f '{{.State.OOMKilled}}' oom
	check "user: limits" '^33554432~50000 100000~9~0::/~code 0' as_user camada run --rm --network none --memory 32m --cpus 0.5 --pids-limit 9 box sh -c 'cd /sys/fs/cgroup; cat memory.max cpu.max pids.max /proc/self/cgroup'
	more "user: no device of the machine" 'denied|not permitted' as_user camada run --rm --network none box mknod /tmp/disk b $disk
	more "user: a network by pasta" 'inet .*code 0' as_user camada run --rm --network bridge box sh -c 'ip addr | grep inet | tail -n 1'
	check "login: limits" '^33554432~50000 100000~9~0::/~code 0' login "camada run --rm --network none --memory 32m --cpus 0.5 --pids-limit 9 box sh -c 'cd /sys/fs/cgroup; cat memory.max cpu.max pids.max /proc/self/cgroup'"
	check "login: background" 'code 0' login "camada rm oom && camada run -d --name job --network none --memory 32m --pids-limit 20 box sleep 1000"
	more "login: exec is inside the limits" "^20~.*can't fork" login "camada exec job sh -c 'cat /sys/fs/cgroup/pids.max; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21; do sleep 1 & done; wait'"
	more "login: pause" '^paused~code 0' login "camada pause job >/dev/null && camada inspect -f '{{.State.Status}}' job && camada unpause job >/dev/null"
	check "login: stop and remove" 'code 0' login "camada stop -t 1 job && camada rm job"
	check "no group of the user is left" '^0~code 0' sh -c "find $C/user.slice -path '*/camada/*' -type d | wc -l"
}

user_units() {
	user_box
	check "user: unit" 'code 0' as_user sh -c 'camada create --name unit --network none box sleep 1000 && mkdir -p .config/systemd/user && cd .config/systemd/user &&
		camada generate systemd --new --files --name -t 1 unit && camada rm unit && systemctl --user daemon-reload && systemctl --user start container-unit'
	soon "user: unit: the container runs" '^true~code 0' as_user camada inspect -f '{{.State.Running}}' unit
	check "user: unit: stop" 'code 0' as_user sh -c 'systemctl --user stop container-unit && ! camada inspect unit 2>/dev/null'
}

# packages: the tests of those that know the kernel best.
packages() {
	local t out
	# tmpfs has no attributes of users before 6.6, which overlays in user namespaces need.
	export TMPDIR=/var/tmp
	for t in /usr/local/bin/*.test; do
		[ -x "$t" ] || continue
		out=$(cd $TMPDIR && $t -test.short -test.timeout 15m -test.v 2>&1 </dev/null)
		local failed=$?
		grep -aE '^ *--- SKIP' <<<"$out" | sed 's/^/NOTE  /'
		if [ $failed = 0 ]; then
			echo "PASS  tests: ${t##*/}"
		else
			echo "FAIL  tests: ${t##*/}"
			sed '/^goroutine /,$d' <<<"$out" | grep -avE '^=== |^ *--- (PASS|SKIP)' | tail -n 60 | sed 's/^/      /'
		fi
	done
}

# part NAME does a part of the checks, and says how long that took.
part() {
	local began=$SECONDS
	"$1"
	echo "NOTE  $1: $((SECONDS - began)) s"
}

checks() {
	local name
	code=0
	disk=$(stat -c '%Hr %Lr' /dev/ubda)
	if [ "$1" = 1 ]; then
		echo "NOTE  kernel $(uname -r), $(systemctl --version | head -n 1), controllers: $(cat $C/cgroup.controllers)"
		make_image
		check info 'Cgroups: +v2~.*code 0' camada info
		check build 'code 0' camada build --network host --progress plain -t box /srv/box
		if [ -z "$parts" ]; then
			parts="limits networks scopes units users restart"
			[ -z "$CAMADA_TEST_LONG" ] || parts="limits networks scopes units journal users user_scopes user_units packages restart"
		fi
		for name in $parts; do part "$name"; done
	else
		part restarted
		check "overlayfs was asked for nothing that it does not know" '^code 1' sh -c 'dmesg | grep "unrecognized mount option"'
	fi
}
