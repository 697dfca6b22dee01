package test

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/camada/camada/base/debian/debiantest"
)

// TestKilledBase kills the making of a base image; the next one makes the same image.
func TestKilledBase(t *testing.T) {
	onMachine(t, func(m *machine) {
		busybox, err := os.ReadFile(m.path("ctx/rootfs/bin/busybox"))
		m.must(err)
		debs := []debiantest.Deb{{Name: "shell", Version: "1", Fields: "Depends: data0, data1, data2\n", Compression: "gz", Files: []debiantest.File{
			{Name: "./bin/"}, {Name: "./bin/sh", Body: string(busybox), Mode: 0o755},
		}}}
		for i := range 3 {
			debs = append(debs, debiantest.Deb{Name: fmt.Sprintf("data%d", i), Version: "1", Files: []debiantest.File{
				{Name: "./usr/"}, {Name: "./usr/share/"}, {Name: fmt.Sprintf("./usr/share/%d", i), Body: string(bytes.Repeat(busybox, i+1))},
			}})
		}
		debs = append(debs, debiantest.Deb{Name: "base-files", Version: "1", Files: []debiantest.File{{Name: "./usr/"}}}) // each image has it
		a := debiantest.New(t, "bookworm", debs)
		args := []string{"base", "debian", "--suite", "bookworm", "--variant", "distroless", "--include", "shell", "--arch", "amd64",
			"--mirror", a.URL, "--keyring", a.Keyring, "-t", "made"}
		began := time.Now()
		m.camada(args...)
		took := time.Since(began)
		want := m.camada("images", "-q", "--no-trunc", "made")
		m.none("after a base was made", m.leftovers)
		random := seeded(t)
		n, hits := 10, 0
		if long() {
			n = 100
		}
		for i := 0; hits < n && i < 10*n && !t.Failed(); i++ {
			after := time.Duration(random.Int64N(int64(took)))
			m.must(os.RemoveAll(m.path("store/cache/debian")))
			if hit, _ := m.killed(syscall.SIGKILL, after, args...); !hit {
				continue
			}
			hits++
			when := fmt.Sprintf("after kill %d, %v into the base,", hits, after)
			m.none(when, m.living)
			m.whole(when)
			if hits%5 == 0 {
				m.camada(args...)
				if got := m.camada("images", "-q", "--no-trunc", "made"); got != want {
					t.Errorf("%s the next one is %s, want %s", when, got, want)
				}
				m.accounted(when)
			}
		}
		t.Logf("%d kills hit the making of a base, which takes %v", hits, took)
	})
}
