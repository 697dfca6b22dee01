package test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFullDisk lets the store's disk become full: whatever needs space says so and leaves nothing half done, what there was stays
// whole, and all works again when there is space.
func TestFullDisk(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.write("big/Dockerfile", "FROM scratch\nCOPY . /\nCMD [\"/bin/cat\", \"/Dockerfile\"]\n")
		noise := make([]byte, 24<<20)
		random := rand.NewChaCha8([32]byte{})
		_, _ = random.Read(noise)
		m.must(os.WriteFile(m.path("big/noise"), noise, 0o644))
		other := []string{"--root", m.path("other")}
		want := m.camada(append(other, "build", "-q", "-t", "big", "big")...)
		m.camada(append(other, "save", "-o", "big.tar", "big")...)
		m.camada(append(other, "system", "reset", "-f")...)
		m.none("after the other store was used", m.leftovers)

		m.must(os.Mkdir(m.root, 0o711))
		m.must(unix.Mount("tmpfs", m.root, "tmpfs", 0, "size=20m"))
		defer unix.Unmount(m.root, unix.MNT_DETACH)
		m.mounts = m.mountPoints()
		m.write("ctx/Dockerfile", "FROM scratch\nCOPY rootfs /\nCMD echo it works\n")
		m.write("fill.df", "FROM app\nRUN dd if=/dev/zero of=/zero bs=1M count=100\n")
		m.camada("build", "-q", "-t", "app", "ctx")

		attempts := [][]string{
			{"build", "-t", "big", "big"},
			{"build", "-t", "big", "--no-cache", "big"},
			{"load", "-i", "big.tar"},
			{"import", "big.tar", "odd"},
			{"build", "-t", "big", "-f", "fill.df", "ctx"},
		}
		for _, args := range attempts {
			m.refused(1, args...)
		}
		m.crammed()
		m.whole("with space again,")
		m.accounted("with space again,")
		m.works()

		m.must(unix.Mount("tmpfs", m.root, "tmpfs", unix.MS_REMOUNT, "size=200m"))
		m.mounts = m.mountPoints()
		m.camada("load", "-i", "big.tar")
		if got := m.camada("images", "-q", "--no-trunc", "big"); got != want {
			t.Errorf("loaded %s, want %s", got, want)
		}
		if got := m.camada("build", "-q", "-t", "big", "big"); got != want {
			t.Errorf("built %s, want %s", got, want)
		}
		m.whole("on a larger disk,")
		m.accounted("on a larger disk,")
		m.camada("system", "reset", "-f")
		m.must(unix.Unmount(m.root, 0)) // nobody holds it
	})
}

// refused runs what needs more space than there is.
func (m *machine) refused(code int, args ...string) {
	m.t.Helper()
	r := m.run(args...)
	if r.code != code || !strings.Contains(strings.ToLower(r.errors+r.out), "no space left on device") {
		m.t.Errorf("on a full disk: %v", r)
	}
	when := fmt.Sprintf("on a full disk, after %v,", args)
	m.none(when, m.leftovers)
	m.whole(when)
	for _, odd := range account(m.t, m.root) {
		if begun(odd) {
			m.t.Errorf("%s there is %s", when, odd)
		}
	}
	m.works()
}

// works runs the image that was there before.
func (m *machine) works() {
	m.t.Helper()
	if got := m.camada("run", "--rm", "--network", "none", "app"); got != "it works" {
		m.t.Errorf("the image says %q", got)
	}
}

// crammed fills the disk to the last byte and tries all verbs: each works or says why not, and none does damage.
func (m *machine) crammed() {
	m.t.Helper()
	f, err := os.Create(m.path("store/ballast"))
	m.must(err)
	block := make([]byte, 1<<12)
	for err == nil {
		_, err = f.Write(block)
	}
	m.must(f.Close())
	for _, args := range [][]string{
		{"tag", "app", "again"}, {"untag", "again"}, {"build", "-t", "new", "--no-cache", "ctx"}, {"run", "--rm", "--network", "none", "app"},
		{"run", "-d", "--network", "none", "app"}, {"load", "-i", "big.tar"}, {"rollback", "app"}, {"df"}, {"images"}, {"ps", "-a"}, {"log", "app"}, {"gc"},
	} {
		r := m.run(args...)
		said := strings.ToLower(r.errors)
		if r.code != 0 && !strings.Contains(said, "no space left on device") && !strings.Contains(said, "no image is named") && !strings.Contains(said, "it can go back 0 moves") {
			m.t.Errorf("on a crammed disk: %v", r)
		}
		if r.code == 0 && args[0] == "build" {
			m.t.Errorf("on a crammed disk: %v", r)
		}
		m.none(fmt.Sprintf("on a crammed disk, after %v", args), m.living)
	}
	m.must(os.Remove(m.path("store/ballast")))
	for _, id := range strings.Fields(m.camada("ps", "-aq")) {
		m.camada("rm", "-f", id)
	}
}
