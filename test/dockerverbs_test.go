package test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/internal/peers"
	"github.com/google/go-cmp/cmp"
)

// TestVerbsAsDocker runs the same scripts with docker and with camada, and compares what was printed and left. In a script, D is
// either program, "in" a directory of files, and the current directory is empty.
func TestVerbsAsDocker(t *testing.T) {
	c, p := withPeers(t, "dockerd", "docker")
	p.StartDocker()
	dir := system(t, p.Path("ctx"))
	write(t, dir, "Dockerfile", "FROM scratch\nCOPY rootfs /\nENV PATH=/bin IN=image\nWORKDIR /srv\nLABEL a=1\nEXPOSE 81\nVOLUME /image\nCMD [\"sleep\", \"1000\"]\n")
	c.run("build", "-q", "-t", "img:1", dir)
	c.run("save", "-o", p.Path("img.tar"), "img:1")
	p.Run("docker", "load", "-i", p.Path("img.tar"))
	files := p.Path("in")
	write(t, files, "f", "file\n", "d/a", "a\n", "d/sub/b", "b\n")
	for _, err := range []error{os.Symlink("f", filepath.Join(files, "link")), os.Symlink("d", filepath.Join(files, "dlink")), os.Chown(filepath.Join(files, "d/a"), 1234, 77),
		os.Chmod(filepath.Join(files, "d/a"), 0o4750)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	docker, camada := `exec docker -H unix://`+p.Path("sock")+` "$@"`, "exec "+c.bin+" --root "+c.root+` "$@"`
	for _, v := range verbScripts() {
		t.Run(v.name, func(t *testing.T) {
			if diff := cmp.Diff(script(t, docker, files, v.text), script(t, camada, files, v.text)); diff != "" {
				t.Errorf("-docker +camada\n%s", diff)
			}
		})
	}
	t.Run("inspect", func(t *testing.T) { inspectsAsDocker(t, c.in(t), p) })
}

// script runs a shell script in a new directory and returns what it printed, with what is different by nature made the same.
func script(t *testing.T, program, files, text string) string {
	t.Helper()
	dir := t.TempDir()
	d := filepath.Join(dir, "D")
	if err := os.WriteFile(d, []byte("#!/bin/sh\n"+program+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(files, filepath.Join(work, "in")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", text)
	cmd.Dir = work
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "LC_ALL=C", "NO_COLOR=1")
	var messages strings.Builder
	cmd.Stderr = &messages
	out, err := cmd.Output()
	if messages.Len() > 0 {
		t.Logf("%s\n%s", program, messages.String())
	}
	return fmt.Sprintf("%s%v", sameWords(string(out)), err)
}

// sameWords takes away what two programs name differently: IDs, who speaks, and how an error begins.
func sameWords(s string) string {
	s = regexp.MustCompile(`\b[0-9a-f]{64}\b`).ReplaceAllString(s, "ID")
	s = regexp.MustCompile(`\b[0-9a-f]{12}\b`).ReplaceAllString(s, "SHORT")
	s = regexp.MustCompile(`(?m)^(camada|Error response from daemon|Error|docker): `).ReplaceAllString(s, "")
	s = regexp.MustCompile(`(?m)^("?)(camada|docker) `).ReplaceAllString(s, "${1}PROGRAM ")
	return s
}

// otherFields are those of docker's inspect that camada has not got, or has otherwise, with the reason.
func otherFields() map[string]string {
	return map[string]string{
		"Id": "differs", "Created": "differs", "State.Pid": "differs", "State.StartedAt": "differs", "State.FinishedAt": "differs", "Image": "images are loaded: IDs are the same, but for the layers' form",
		"ResolvConfPath": "a path", "HostnamePath": "a path", "HostsPath": "a path", "LogPath": "a path", "Config.Hostname": "an ID", "Driver": "overlay2 is called overlay",
		"GraphDriver": "paths", "MountLabel": "no SELinux", "ProcessLabel": "no SELinux", "AppArmorProfile": "none by default", "ExecIDs": "no daemon that knows them",
		"HostConfig.Cgroup": "links of cgroups are gone", "HostConfig.ConsoleSize": "Windows", "HostConfig.Isolation": "Windows", "HostConfig.CpuCount": "Windows", "HostConfig.CpuPercent": "Windows",
		"HostConfig.IOMaximumIOps": "Windows", "HostConfig.IOMaximumBandwidth": "Windows", "HostConfig.KernelMemory": "no kernel has it", "HostConfig.KernelMemoryTCP": "no kernel has it",
		"HostConfig.CpuRealtimePeriod": "no flag", "HostConfig.CpuRealtimeRuntime": "no flag", "HostConfig.NetworkMode": "bridge is called default before version 26",
		"HostConfig.CgroupnsMode": "private here, on cgroup v1 too", "HostConfig.Runtime": "camada", "HostConfig.MaskedPaths": "newer ones are masked too", "HostConfig.PortBindings": "", "HostConfig.Mounts": "compared by Mounts",
		"NetworkSettings.SandboxID": "an ID", "NetworkSettings.SandboxKey": "a path", "NetworkSettings.SecondaryIPAddresses": "swarm", "NetworkSettings.SecondaryIPv6Addresses": "swarm",
		"NetworkSettings.EndpointID": "an ID", "NetworkSettings.Gateway": "a network", "NetworkSettings.IPAddress": "a network", "NetworkSettings.MacAddress": "a network", "NetworkSettings.IPPrefixLen": "a network",
		"NetworkSettings.Networks": "compared by names", "Mounts": "compared by themselves", "Config.AttachStdout": "", "Config.AttachStderr": "",
		"Config.StopSignal": "is told when it is the usual one, too",
	}
}

// inspectsAsDocker makes the same container with both, and compares all that inspect tells.
func inspectsAsDocker(t *testing.T, c *ours, p *peers.Peers) {
	flags := strings.Fields("run -d --name looked -e NEW=1 -e IN=user -l b=2 -m 64m --cpus 0.5 --pids-limit 50 -v vol:/vol -v /anon --tmpfs /t:size=1m --cap-add NET_ADMIN --cap-drop MKNOD" +
		" --ulimit nofile=100:200 --dns 192.0.2.1 --dns-search example.org --add-host a:192.0.2.2 --device /dev/null:/dev/zilch:r --restart on-failure:3 --stop-timeout 3 --health-cmd true" +
		" --read-only -w /tmp -u 1000 --entrypoint sleep --group-add 77 --shm-size 1m --security-opt no-new-privileges -p 127.0.0.1::80 --oom-score-adj 5 img:1 999")
	theirs, got := inspected(t, p.In(t).Run("docker", flags...), p.In(t).Run("docker", "inspect", "looked")), inspected(t, c.run(flags...), c.run("inspect", "looked"))
	p.In(t).Run("docker", "rm", "-f", "-v", "looked")
	c.run("rm", "-f", "-v", "looked")
	differ := otherFields()
	compareFields(t, "", theirs, got, differ)
	mounts := func(v map[string]any) (list []string) {
		all, _ := v["Mounts"].([]any)
		for _, m := range all {
			f, _ := m.(map[string]any)
			list = append(list, fmt.Sprint(f["Type"], f["Destination"], f["Driver"], f["RW"], f["Propagation"]))
		}
		slices.Sort(list)
		return list
	}
	if diff := cmp.Diff(mounts(theirs), mounts(got)); diff != "" {
		t.Errorf("mounts: -docker +camada\n%s", diff)
	}
}

func inspected(t *testing.T, _, text string) map[string]any {
	t.Helper()
	var all []map[string]any
	if err := json.Unmarshal([]byte(text), &all); err != nil || len(all) != 1 {
		t.Fatalf("%v of %s", err, text)
	}
	return all[0]
}

// compareFields compares all that docker has; nothing is the same as empty.
func compareFields(t *testing.T, at string, theirs, got map[string]any, differ map[string]string) {
	t.Helper()
	for name, want := range theirs {
		full := strings.TrimPrefix(at+"."+name, ".")
		if _, ok := differ[full]; ok {
			continue
		}
		have := got[name]
		if w, ok := want.(map[string]any); ok && (full == "State" || full == "HostConfig" || full == "Config" || full == "NetworkSettings") {
			h, _ := have.(map[string]any)
			compareFields(t, full, w, h, differ)
			continue
		}
		if fmt.Sprint(want) != fmt.Sprint(have) && !(nothing(want) && nothing(have)) {
			t.Errorf("%s: docker says %v, camada %v", full, want, have)
		}
	}
}

func nothing(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	case string:
		return v == ""
	case bool:
		return !v
	case float64:
		return v == 0
	}
	return false
}
