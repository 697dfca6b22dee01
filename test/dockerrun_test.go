package test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/internal/peers"
	"github.com/google/go-cmp/cmp"
)

// TestRunsAsDocker runs the same commands with docker and with camada, and compares exit codes and what was printed.
func TestRunsAsDocker(t *testing.T) {
	c, p := withPeers(t, "dockerd", "docker")
	p.StartDocker()
	dir := system(t, p.Path("ctx"))
	write(t, dir, "Dockerfile", "FROM scratch\nCOPY rootfs /\nENV PATH=/bin IN=image\nVOLUME /volume\nRUN mkdir /srv && echo x > /notexec\nWORKDIR /srv\n")
	c.run("build", "-q", "-t", "img:1", dir)
	c.run("save", "-o", p.Path("img.tar"), "img:1")
	p.Run("docker", "load", "-i", p.Path("img.tar"))
	for _, args := range [][]string{
		{"true"}, {"false"}, {"sh", "-c", "exit 42"}, {"sh", "-c", "kill -9 $$"}, {"sh", "-c", "kill -15 $$"}, {"nosuch"}, {"/nosuch"}, {"/notexec"}, {"/srv"},
		{"env"}, {"-e", "IN=user", "-e", "NEW=1", "env"}, {"-u", "app", "env"}, {"-h", "named", "env"}, {"-e", "HOME=/x", "env"}, {"-e", "PATH", "env"},
		{"id"}, {"-u", "app", "id"}, {"-u", "app:extra", "id"}, {"-u", "1234", "id"}, {"-u", "1234:77", "id"}, {"-u", ":2000", "id"}, {"-u", "1000", "id"},
		{"-u", "nobody", "id"}, {"-u", "app:nogroup", "id"}, {"-u", "0:0", "id"},
		{"pwd"}, {"-w", "/made/here", "sh", "-c", "pwd; stat -c '%a %u' /made"}, {"-w", "relative", "pwd"},
		{"hostname"}, {"-h", "named", "sh", "-c", "hostname; cat /etc/hostname"}, {"-h", "named", "cat", "/etc/hosts"},
		{"sh", "-c", "ls -a / /etc /dev | grep -v -e dockerenv -e mtab | sort -u"}, {"sh", "-c", "stat -c '%n %F %a %u:%g %t,%T' /dev/* /proc /sys /volume"}, {"sh", "-c", "ls -l /dev | grep -e '->' | sed 's/.*[0-9] //'"},
		{"sh", "-c", "grep -E '^(Cap|Seccomp|NoNewPrivs|Groups)' /proc/self/status"},
		{"-u", "app", "sh", "-c", "grep -E '^(Cap|Seccomp|NoNewPrivs|Groups)' /proc/self/status"},
		{"--privileged", "sh", "-c", "grep -E '^(Cap|Seccomp|NoNewPrivs)' /proc/self/status"},
		{"--cap-drop", "ALL", "--cap-add", "NET_RAW", "sh", "-c", "grep -E '^Cap' /proc/self/status"},
		{"--cap-add", "SYS_ADMIN", "sh", "-c", "grep -E '^(Cap|Seccomp)' /proc/self/status"},
		{"--cap-add", "ALL", "--cap-drop", "CAP_CHOWN", "sh", "-c", "grep -E '^Cap' /proc/self/status"},
		{"sh", "-c", mounts}, {"--read-only", "sh", "-c", mounts + "; touch /x"}, {"--privileged", "sh", "-c", mounts},
		{"sh", "-c", "umask; readlink /proc/self/ns/user > /dev/null && echo $$; cat /proc/self/oom_score_adj"},
		{"sh", "-c", "ls /proc/acpi /sys/firmware /proc/scsi; head -c 1 /proc/kcore /proc/keys /proc/timer_list | wc -c"},
		{"sh", "-c", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range"},
		{"--entrypoint", "echo", "IMAGE", "a", "b"}, {"--entrypoint", "", "IMAGE", "echo", "x"}, {"--init", "sh", "-c", "exit 3"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			given := append([]string{"run", "--rm", "--network", "none"}, args...)
			if i := slices.Index(given, "IMAGE"); i >= 0 {
				given[i] = "img:1"
			} else {
				i := 4
				for i < len(given) && strings.HasPrefix(given[i], "-") {
					if given[i] != "--privileged" && given[i] != "--read-only" && given[i] != "--init" {
						i++
					}
					i++
				}
				given = slices.Insert(given, i, "img:1")
			}
			theirs, err := p.In(t).Try("docker", given...)
			if err != nil && strings.Contains(err.Error(), "unable to apply caps") {
				t.Skip("docker cannot give all capabilities here, because it has not got them")
			}
			want := fmt.Sprintf("exit code %d\n%s", peers.ExitCode(err), alike(theirs))
			ours, code := c.in(t).try(given...)
			got := fmt.Sprintf("exit code %d\n%s", code, alike(ours))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-docker +camada\n%s", diff)
			}
		})
	}
}

// mounts prints what is mounted where and how, but for what lies on the disk and in the control groups, which docker
// shows as the host has them, and camada as version 2 alone.
const mounts = `while read _ _ _ from to opts rest; do case "$to $rest" in "/ "*|/sys/fs/cgroup*|/volume*) continue ;; esac
  rest=${rest#*- }; echo "$to ${rest%% *} $opts" | sed 's/,relatime//'; done < /proc/self/mountinfo | sort`

// alike takes away what two runs, or two versions of docker, print differently: names of containers, the order of the
// environment, how an address is written, paths that newer versions mask too.
func alike(s string) string {
	s = regexp.MustCompile(`\b[0-9a-f]{12}\b`).ReplaceAllString(s, "CONTAINER")
	s = regexp.MustCompile(`(?m)^(f[ef]00::)0`).ReplaceAllString(s, "$1")
	s = regexp.MustCompile(`(?m)^(/proc/interrupts|/sys/devices/virtual/powercap) .*\n`).ReplaceAllString(s, "")
	if strings.Contains(s, "HOSTNAME=") {
		lines := strings.Split(s, "\n")
		slices.Sort(lines)
		s = strings.Join(lines, "\n")
	}
	return s
}
