package procs

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	p, name, ok := parseStat([]byte("42 (a) b (c) S 7 42 42 34816 42 4194304 1 2 3 4 150 50 0 0 20 0 3 0 1200 1000000 25 18446744073709551615 1\n"))
	if !ok || name != "a) b (c" {
		t.Fatalf("%v %q", ok, name)
	}
	want := Process{PPID: 7, TTY: 34816, CPU: 2 * time.Second, Threads: 3, Started: 12 * time.Second, RSS: 25 * uint64(os.Getpagesize())}
	if p != want {
		t.Errorf("%+v\nwant %+v", p, want)
	}
	for _, bad := range []string{"", "1", "1 (x", "1 )x( S", "1 (x) S 1 2"} {
		if _, _, ok := parseStat([]byte(bad)); ok {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestParseNetDev(t *testing.T) {
	text := "Inter-|   Receive  |  Transmit\n face |bytes\n    lo:  99 1 0 0 0 0 0 0  99 1 0 0 0 0 0 0\n  eth0: 10 1 0 0 0 0 0 0  20 1 0 0 0 0 0 0\neth1:1 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n bad: x\n"
	if r, s := parseNetDev(text); r != 11 || s != 22 {
		t.Errorf("%d %d", r, s)
	}
}

func TestOwnProcess(t *testing.T) {
	list := List([]int{os.Getpid(), -1, 1 << 30})
	if len(list) != 1 || list[0].PID != os.Getpid() || list[0].PPID != os.Getppid() || !strings.Contains(list[0].Command, ".test") || list[0].RSS == 0 || list[0].Threads == 0 {
		t.Fatalf("%+v", list)
	}
	if int(list[0].UID) != os.Geteuid() {
		t.Errorf("uid %d", list[0].UID)
	}
	pids, err := InPIDNamespaceOf(os.Getpid())
	if err != nil || !slices.Contains(pids, os.Getpid()) {
		t.Errorf("%v %v", pids, err)
	}
	if up := Uptime(); up < list[0].Started {
		t.Errorf("up for %v, started after %v", up, list[0].Started)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("42 (a) S 7 42 42 34816 42 4194304 1 2 3 4 150 50 0 0 20 0 3 0 1200 1000000 25 1")
	f.Add("eth0: 10 1 0 0 0 0 0 0  20 1 0 0 0 0 0 0")
	f.Fuzz(func(t *testing.T, s string) {
		_, _, _ = parseStat([]byte(s))
		_, _ = parseNetDev(s)
	})
}
