package test

import (
	"path/filepath"
	"testing"
)

// TestSlimRootless makes a slim image as an ordinary user: with ranges of ids, and with one id.
func TestSlimRootless(t *testing.T) {
	for name, where := range map[string]place{"ranges": {subIDs: ranges}, "one-id": {}} {
		t.Run(name, func(t *testing.T) {
			asUser(t, where, func(u *user) {
				ctx := u.context(filepath.Join(u.dir, "ctx"), "ctx", "Dockerfile", "FROM scratch\nCOPY rootfs /\nCOPY --chown=app text /srv/text\nCOPY text /srv/other\nWORKDIR /srv\nCMD [\"cat\", \"text\"]\n", "text", "text\n")
				u.camada("build", "-q", "-t", "app", ctx)
				u.says("bin/busybox bin/cat etc/group etc/passwd srv/text", "slim", "--progress", "quiet", "--network", "none", "--format", `{{range $i, $f := .Files}}{{if .Kept}}{{if ne .Path "bin/busybox"}} {{end}}{{.Path}}{{end}}{{end}}`, "app")
				u.says("text", "run", "--rm", "--network", "none", "app:latest-slim")
				u.says("app:1000", "slim", "--progress", "quiet", "--network", "none", "-t", "shell", "--run", "stat -c %U:%u /srv/text", "--format", `{{if .Slim.Name}}app:1000{{end}}`, "app")
			})
		})
	}
}
