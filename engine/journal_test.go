package engine

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/container/record"
)

func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	log, err := openJournal(path, record.Config{ID: strings.Repeat("a", 64), Name: "web"}, "tag", map[string]string{"_my.label": "two\nlines"})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if err := log.Copy("stderr", strings.NewReader("a line\nno end"), nil); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	var got []string
	for range 2 {
		n, err := l.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(buf[:n]))
	}
	for _, want := range []string{"CONTAINER_NAME=web\n", "PRIORITY=3\n", "MESSAGE=a line\n", "MY_LABEL\n\x09\x00\x00\x00\x00\x00\x00\x00two\nlines\n"} {
		if !strings.Contains(got[0], want) {
			t.Errorf("sent %q, without %q", got[0], want)
		}
	}
	if strings.Contains(got[0], "PARTIAL") || !strings.Contains(got[1], "MESSAGE=no end\nCONTAINER_PARTIAL_MESSAGE=true\n") {
		t.Errorf("sent %q", got)
	}
}
