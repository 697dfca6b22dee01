package engine

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSchedulersOf(t *testing.T) {
	for _, c := range []struct {
		disk, partition, want string
		heeds                 bool
	}{
		{"[none] mq-deadline bfq\n", "", "[none] mq-deadline bfq", false},
		{"none mq-deadline [bfq]\n", "", "none mq-deadline [bfq]", true},
		{"[bfq] none\n", "p1", "[bfq] none", true},
		{"", "", "", false},
	} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "queue"), 0o755); err != nil {
			t.Fatal(err)
		}
		if c.disk != "" {
			if err := os.WriteFile(filepath.Join(dir, "queue/scheduler"), []byte(c.disk), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		at := filepath.Join(dir, c.partition)
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		if list, heeds := schedulersOf(at); list != c.want || heeds != c.heeds {
			t.Errorf("%+v: %q, %t", c, list, heeds)
		}
	}
}

func TestCommandText(t *testing.T) {
	if got := commandText([]string{"a b", "c d", "e"}); got != "a b 'c d' e" {
		t.Error(got)
	}
}

func TestSetsPath(t *testing.T) {
	for change, want := range map[string]bool{"ENV PATH=/bin": true, "env A=1 PATH=/bin": true, "ENV PATH /bin": true, "ENV A=$PATH": false, "CMD PATH=1": false, "ENV": false} {
		if got := setsPath(change); got != want {
			t.Errorf("%q: %t", change, got)
		}
	}
}
