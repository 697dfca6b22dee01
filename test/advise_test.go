package test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestAdviceAddsUp: the figures of advise are the sums of what explain says of each build.
func TestAdviceAddsUp(t *testing.T) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("no busybox: install busybox-static")
	}
	if os.Geteuid() != 0 {
		t.Skip("runs containers as root")
	}
	dir := t.TempDir()
	c := &ours{t: t, bin: shipped(t), root: filepath.Join(dir, "store")}
	ctx := filepath.Join(dir, "ctx")
	if err := rootfs(filepath.Join(ctx, "rootfs"), busybox); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(ctx, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("rootfs/bin/npm", "#!/bin/sh\nsleep 0.1; mkdir -p /root/.npm/_cacache; head -c 300000 /dev/urandom > /root/.npm/_cacache/x\n")
	write("Dockerfile", "FROM scratch\nCOPY rootfs /\nWORKDIR /app\nCOPY app .\nRUN npm ci\nRUN cat src > built\n")
	write("app/package.json", "{}")
	for i, change := range []string{"src", "src", "package.json", "src", ""} {
		if change != "" {
			write("app/"+change, fmt.Sprint(i))
		}
		c.run("build", "-q", "-t", "app", ctx)
	}

	type step struct {
		Name, Outcome string
		Seconds       float64
		Size          int64
	}
	explain := func(id string) (npm step) {
		var r struct{ Steps []step }
		if err := json.Unmarshal([]byte(c.run("explain", "--format", "json", id)), &r); err != nil {
			t.Fatal(err)
		}
		for _, s := range r.Steps {
			if strings.Contains(s.Name, "npm ci") {
				npm = s
			}
		}
		return npm
	}
	ids := strings.Fields(c.run("builds", "-q")) // the youngest first
	if len(ids) != 5 {
		t.Fatalf("builds %v", ids)
	}
	// src changed in the second and the fourth build; in the third it was package.json.
	second, third, fourth, fifth := explain(ids[3]), explain(ids[2]), explain(ids[1]), explain(ids[0])
	if third.Outcome != "executed" || fifth.Outcome != "cached" {
		t.Errorf("the third build: %+v, the fifth: %+v", third, fifth)
	}
	var report struct {
		Advice []struct {
			Kind, Text, Evidence string
			Line, Builds, Helped int
			SecondsPerBuild      float64
			BytesPerPush         int64
		}
	}
	if err := json.Unmarshal([]byte(c.run("advise", "--format", "json", "app")), &report); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, a := range report.Advice {
		seen[a.Kind] = true
		switch a.Kind {
		case "split":
			wantSeconds, wantBytes := (second.Seconds+fourth.Seconds)/4, (second.Size+fourth.Size)/4
			if d := a.SecondsPerBuild - wantSeconds; a.Line != 4 || a.Helped != 2 || a.Builds != 4 || d > 1e-5 || d < -1e-5 || a.BytesPerPush != wantBytes {
				t.Errorf("got %+v, want %f seconds and %d bytes", a, wantSeconds, wantBytes)
			}
		case "cache": // random bytes do not compress; the layer was new in three of four builds
			if a.Line != 5 || a.Helped != 3 || a.BytesPerPush < 300000*3/4 || a.BytesPerPush > 310000*3/4 {
				t.Errorf("got %+v", a)
			}
		}
	}
	if !seen["split"] || !seen["cache"] {
		t.Errorf("advice %+v", report.Advice)
	}
	if out := c.run("advise", "app"); !strings.Contains(out, "copy app/package.json in an instruction of their own") || !strings.Contains(out, "2 of 4") {
		t.Errorf("got %s", out)
	}
}
