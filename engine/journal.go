package engine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"strings"

	"github.com/camada/camada/container/record"
)

// journalSink sends lines to journald, in its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): a datagram for each.
type journalSink struct {
	conn   *net.UnixConn
	fields []byte // those that all lines have
}

// openJournal opens a log in the journal. Its fields have the names of Docker's.
func openJournal(socket string, cfg record.Config, tag string, attrs map[string]string) (*record.Log, error) {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("log to the journal: %w", err)
	}
	var b bytes.Buffer
	for _, f := range [][2]string{
		{"CONTAINER_ID", cfg.ID[:12]}, {"CONTAINER_ID_FULL", cfg.ID}, {"CONTAINER_NAME", cfg.Name}, {"CONTAINER_TAG", tag},
		{"IMAGE_NAME", cfg.ImageName}, {"SYSLOG_IDENTIFIER", tag},
	} {
		field(&b, f[0], f[1])
	}
	for name, value := range attrs {
		field(&b, journalName(name), value)
	}
	return record.NewLog(&journalSink{conn: conn, fields: b.Bytes()}), nil
}

// Put implements record.Sink.
func (s *journalSink) Put(l record.Line) error {
	var b bytes.Buffer
	b.Write(s.fields)
	priority := "6" // info
	if l.Stream == "stderr" {
		priority = "3" // err
	}
	field(&b, "PRIORITY", priority)
	field(&b, "MESSAGE", strings.TrimSuffix(l.Log, "\n"))
	if !strings.HasSuffix(l.Log, "\n") {
		field(&b, "CONTAINER_PARTIAL_MESSAGE", "true")
	}
	_, err := s.conn.Write(b.Bytes())
	return err
}

// Close implements record.Sink.
func (s *journalSink) Close() error { return s.conn.Close() }

// field appends a field: NAME=VALUE and a line end or, when the value has one, the name, its length and the value.
func field(b *bytes.Buffer, name, value string) {
	b.WriteString(name)
	if !strings.Contains(value, "\n") {
		b.WriteString("=" + value + "\n")
		return
	}
	b.WriteByte('\n')
	_ = binary.Write(b, binary.LittleEndian, uint64(len(value)))
	b.WriteString(value + "\n")
}

// journalName makes a name that the journal takes: capitals, digits and underscores, the first no digit or underscore.
func journalName(name string) string {
	b := []byte(strings.ToUpper(name))
	for i, c := range b {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			b[i] = '_'
		}
	}
	if n := strings.TrimLeft(string(b), "_0123456789"); n != "" {
		return n
	}
	return "X"
}
