package ssh_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/remote/ssh"
)

// program writes a shell script that stands for ssh.
func program(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ssh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestArguments(t *testing.T) {
	path := program(t, `echo "$@"`)
	const first = "-F config -T -x -a -o ServerAliveInterval=15 "
	for host, want := range map[string]string{
		"ssh://host":                   "-- host camada serve --stdio",
		"ssh://me@host.example":        "-l me -- host.example camada serve --stdio",
		"ssh://me@host_1:2222":         "-l me -p 2222 -- host_1 camada serve --stdio",
		"ssh://[fe80::1]":              "-- fe80::1 camada serve --stdio",
		"ssh://[::1]:22":               "-p 22 -- ::1 camada serve --stdio",
		"ssh://-oProxyCommand=id":      "",
		"ssh://-l@host":                "",
		"ssh://host:22;id":             "",
		"ssh://a b@host":               "",
		"ssh://me@host@other":          "",
		"ssh://host/../../etc/passwd/": "",
	} {
		c, err := ssh.Dialer{Command: []string{path, "-F", "config"}}.Pipe(t.Context(), host)
		if want == "" {
			if !errdefs.IsInvalid(err) {
				t.Errorf("%s: %v", host, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if s := strings.TrimSpace(string(got)); err != nil || s != first+want {
			t.Errorf("%s: %q, %v; want %q", host, s, err, first+want)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := (ssh.Dialer{Command: []string{"camada-no-such-program"}}).Pipe(t.Context(), "ssh://host"); !errdefs.IsUnsupported(err) {
		t.Errorf("without the program: %v", err)
	}
}

func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		script string
		class  func(error) bool
		text   string
	}{
		{"exit 0", func(err error) bool { return errors.Is(err, io.EOF) }, "EOF"},
		{"echo banner >&2; echo 'me@host: Permission denied (publickey).' >&2; exit 255", errdefs.IsPermission, "ssh to me@host: me@host: Permission denied (publickey)."},
		{"echo 'Host key verification failed.' >&2; exit 255", errdefs.IsPermission, "verification failed"},
		{"echo 'ssh: connect to host host port 22: Connection refused' >&2; exit 255", errdefs.IsUnavailable, "Connection refused"},
		{"exit 255", errdefs.IsUnavailable, "the connection broke"},
		{"echo 'sh: 1: camada: not found' >&2; exit 127", errdefs.IsNotFound, "not in the PATH"},
		{"printf 'camada: \\033[31mno room\\n' >&2; exit 1", errdefs.IsUnavailable, "at me@host: camada: [31mno room"},
		{"exit 3", errdefs.IsUnavailable, "exit status 3"},
		{"kill -9 $$", errdefs.IsUnavailable, "killed"},
	} {
		c, err := ssh.Dialer{Command: []string{program(t, tc.script)}}.Pipe(t.Context(), "ssh://me@host")
		if err != nil {
			t.Fatal(err)
		}
		var b [1]byte
		_, err = c.Read(b[:])
		if err == nil || !tc.class(err) || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: %v; want %q", tc.script, err, tc.text)
		}
		_ = c.Close()
		if _, err := c.Read(b[:]); err == nil {
			t.Errorf("%s: something is read after the end", tc.script)
		}
	}
}

// TestConnection sends both ways at once more than a pipe holds, and ends the program that does not end by itself.
func TestConnection(t *testing.T) {
	c, err := ssh.Dialer{Command: []string{program(t, "exec cat")}}.Pipe(t.Context(), "ssh://host")
	if err != nil {
		t.Fatal(err)
	}
	const size = 3 << 20
	go func() { _, _ = c.Write(make([]byte, size)) }()
	if n, err := io.CopyN(io.Discard, c, size); err != nil || n != size {
		t.Errorf("%d bytes, %v", n, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error("closed again:", err)
	}
}
