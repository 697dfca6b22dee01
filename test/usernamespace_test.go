package test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestUserNamespacesOfAUser looks at containers of an ordinary user that have user namespaces of their own, from inside and from outside.
func TestUserNamespacesOfAUser(t *testing.T) {
	asUser(t, place{subIDs: ranges}, func(u *user) {
		ctx := u.context(filepath.Join(u.dir, "ctx"), "ctx", "text", "text\n", "Dockerfile", `FROM scratch
COPY rootfs /
RUN mkdir /data && touch /data/a && chown 33:44 /data/a && chown app /data && cp /bin/busybox /data/cap
`)
		u.camada("build", "-q", "-t", "img", ctx)
		shared := filepath.Join(u.home, "shared")
		u.must(os.Mkdir(shared, 0o755))
		u.must(os.Chown(shared, userID, userID))
		run := func(args ...string) []string { return append([]string{"run", "--rm", "--network", "none"}, args...) }
		const owners = "stat -c %u:%g / /data /data/a /bin/busybox"

		// keep-id: the caller is himself, and so are his files.
		u.says(fmt.Sprintf("%d %d %s /\n0:0\n1000:0\n33:44\n0:0\n%d", userID, userID, userName, userID),
			run("--userns", "keep-id", "-v", shared+":/s", "img", "sh", "-c", `echo $(id -u) $(id -g) $(id -un) $HOME; `+owners+`; touch /s/kept; stat -c %u /s/kept`)...)
		u.belongs(filepath.Join(shared, "kept"), userID)
		u.says("77 88\n77:88", run("--userns", "keep-id:uid=77,gid=88", "-v", shared+":/s", "img", "sh", "-c", "echo $(id -u) $(id -g); stat -c %u:%g /s/kept")...)
		u.says("0\n0:0", run("--userns", "keep-id", "-u", "0", "img", "sh", "-c", "id -u; touch /root/new; stat -c %u:%g /root/new")...)
		u.says("/data 12345", run("--userns", "keep-id", "-w", "/data", "img", "sh", "-c", `echo $HOME $(grep `+userName+` /etc/group | cut -d: -f3)`)...)

		// nomap: he is nobody there, and root inside is one of his other ids.
		u.says("0\n0:0\n1000:0\n33:44\n0:0\n65534", run("--userns", "nomap", "-v", shared+":/s", "img", "sh", "-c", "id -u; "+owners+"; stat -c %u /s/kept")...)

		// auto: ids that no other container has.
		u.camada("run", "-d", "--name", "one", "--network", "none", "--userns", "auto", "-v", "vol:/data", "-v", shared+":/s:U", "img", "sh", "-c", "touch /s/auto /data/new; sleep 1000")
		u.camada("run", "-d", "--name", "two", "--network", "none", "--userns", "auto:size=2000", "img", "sleep", "1000")
		one, two := u.uidMap("one"), u.uidMap("two")
		if one != "0 700000 2001" || two != "0 702001 2000" { // the highest id of the image is 2000
			t.Errorf("the ids of two containers: %q and %q", one, two)
		}
		u.says("0:0\n1000:0\n33:44\n0:0\n0:0", "exec", "one", "sh", "-c", owners+"; until test -e /data/new; do sleep 0.01; done; stat -c %u:%g /data/new")
		u.belongs(filepath.Join(shared, "auto"), 700000)
		u.says("0:0", run("--userns", "container:one", "img", "stat", "-c", "%u:%g", "/")...)
		u.refused(125, []string{"no 65000 user ids in a row are free"}, run("--userns", "auto:size=65000", "img", "true")...)

		// What leaves the container has the owners that it had there.
		u.camada("exec", "one", "sh", "-c", "touch /made && chown 5:6 /made")
		u.must(os.WriteFile(filepath.Join(u.home, "in"), []byte("in\n"), 0o600))
		u.must(os.Chown(filepath.Join(u.home, "in"), userID, userID))
		u.camada("cp", filepath.Join(u.home, "in"), "one:/in")
		u.says("0:0", "exec", "one", "stat", "-c", "%u:%g", "/in")
		u.camada("commit", "--pause=false", "one", "committed")
		u.says("5:6\n33:44\n0:0", run("committed", "stat", "-c", "%u:%g", "/made", "/data/a", "/in")...)
		u.onTerminal("0:5", "exec", "-it", "one", "sh", "-c", "stat -c %u:%g $(tty)")
		u.camada("stop", "-t", "0", "one")
		u.camada("cp", filepath.Join(u.home, "in"), "one:/in2")
		tar := u.camada("export", "one")
		cmd := exec.Command("tar", "--numeric-owner", "-tvf", "-", "made", "data/a", "in2", "bin/busybox")
		cmd.Stdin = strings.NewReader(tar)
		list, err := cmd.CombinedOutput()
		for _, want := range []string{" 5/6 ", " 33/44 ", " 0/0 "} {
			if err != nil || !strings.Contains(string(list), want) {
				t.Errorf("export: want %q: %v\n%s", want, err, list)
			}
		}
		u.camada("start", "one")
		if again := u.uidMap("one"); again != one {
			t.Errorf("after another start the ids are %q, before %q", again, one)
		}
		u.camada("rm", "-f", "one", "two")
		u.camada("gc", "--keep", "0s")
		u.says("0", run("--userns", "auto", "committed", "id", "-u")...)
	})
}

// TestUserNamespacesManyLayers gives an ordinary user's container other ids for an image of 35 layers: files that lie over others, files and
// directories that are gone, and one that came back.
func TestUserNamespacesManyLayers(t *testing.T) {
	asUser(t, place{subIDs: ranges}, func(u *user) {
		file := []string{"FROM scratch", "COPY rootfs /", "COPY f0 /gone/f0"}
		const layers = 30
		for i := range layers {
			to := fmt.Sprint("f", i)
			if i%5 == 2 {
				to = "last"
			}
			file = append(file, fmt.Sprintf("COPY --chown=%d:%d f%d /d/%s", i, 2*i, i, to))
		}
		file = append(file, "RUN rm /d/f3 && rm -r /gone && mkdir /d/new && chown 33:44 /d/new", "RUN chown 1000 /d/f4 && rm -r /d/new && mkdir /d/new && touch /d/new/file && echo more >> /d/f5",
			"COPY --chown=7:8 f3 /d/f3", "USER app")
		names := []string{"Dockerfile", strings.Join(file, "\n")}
		for i := range layers {
			names = append(names, fmt.Sprint("f", i), fmt.Sprintln("text", i))
		}
		u.camada("build", "-q", "-t", "img", u.context(filepath.Join(u.dir, "ctx"), "ctx", names...))
		if n := u.camada("inspect", "--type", "image", "-f", "{{len .RootFS.Layers}}", "img"); n != fmt.Sprint(layers+5) {
			t.Fatalf("the image has %s layers", n)
		}
		const look = `cd /d; stat -c '%n %u:%g' * new/*; cat f* last; test ! -e /gone; ls -ld /d | cut -c1-10`
		run := func(how ...string) []string {
			return append(append([]string{"run", "--rm", "--network", "none"}, how...), "img", "sh", "-c", look)
		}
		want := u.camada(run()...)
		for _, part := range []string{"f3 7:8\n", "f4 1000:8\n", "f29 29:58\n", "last 27:54\n", "new 0:0\n", "new/file 0:0\n", "text 5\nmore\n"} {
			if !strings.Contains(want, part) {
				t.Fatalf("want %q in %s", part, want)
			}
		}
		for range 2 { // a copy is made, and used again
			u.says(want, run("--userns", "keep-id")...)
			u.says(want, run("--userns", "keep-id:uid=1000,gid=1000")...)
			u.says(want, run("--userns", "auto")...)
		}
		id := fmt.Sprint(userID)
		u.says(id+"\nmine\n"+id, "run", "--rm", "--network", "none", "--userns", "keep-id", "-u", id, "--tmpfs", "/t", "img", "sh", "-c", "id -u; echo mine > /t/file; cat /t/file; stat -c %u /t/file")
		u.says("0:0", "run", "--rm", "--network", "none", "--userns", "keep-id", "-u", "0", "img", "sh", "-c", "echo x >> /d/f5; chown 0:0 /d/f5 && rm /d/f6 && stat -c %u:%g /d/f5")
		u.camada("gc", "--keep", "0s")
		u.says(want, run("--userns", "keep-id")...)
		if out := u.camada("fsck"); !strings.Contains(out, "no problems") {
			t.Error(out)
		}
	})
}

// belongs checks whose file it is outside.
func (u *user) belongs(name string, uid int) {
	u.t.Helper()
	out, err := exec.Command("stat", "-c", "%u", name).CombinedOutput()
	if got := strings.TrimSpace(string(out)); err != nil || got != fmt.Sprint(uid) {
		u.t.Errorf("%s belongs to %s (%v), want %d", name, got, err, uid)
	}
}

// uidMap is the map of a container's first process as the machine sees it.
func (u *user) uidMap(name string) string {
	u.t.Helper()
	pid := u.camada("inspect", "-f", "{{.State.Pid}}", name)
	b, err := os.ReadFile("/proc/" + pid + "/uid_map")
	u.must(err)
	return strings.Join(strings.Fields(string(b)), " ")
}

// onTerminal runs camada on a terminal, which has to show want.
func (u *user) onTerminal(want string, args ...string) {
	u.t.Helper()
	master, slave, err := terminal()
	u.must(err)
	defer master.Close()
	cmd := u.command(args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	u.must(cmd.Start())
	slave.Close()
	said, _ := io.ReadAll(master) // it ends with an error when the terminal hangs up
	if err := cmd.Wait(); err != nil || !strings.Contains(string(said), want) {
		u.t.Errorf("camada %s: %v: says %q, want %q", strings.Join(args, " "), err, said, want)
	}
}
