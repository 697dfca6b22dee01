package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// scanPython are packages of Python's that many have, in versions with known vulnerabilities.
const scanPython = "Django 3.2.0, Flask 0.12, Jinja2 2.10, Pillow 8.0.0, PyYAML 5.1, Werkzeug 0.14, aiohttp 3.7.0, certifi 2019.11.28, cryptography 3.2, idna 2.8, lxml 4.6.0, numpy 1.20.0, " +
	"paramiko 2.4.0, pip 20.0, pygments 2.7.0, requests 2.19.0, setuptools 40.0.0, sqlparse 0.4.0, tornado 6.0, twisted 20.3.0, urllib3 1.24, waitress 1.4.0, wheel 0.37.0"

// makeScan makes an image of about 250 MB with the packages of this machine's Debian, programs of Go and packages of Python, an archive of it, and the advisory database. It does so once.
func (b *bench) makeScan(ctx context.Context) error {
	if _, err := os.Stat(b.path("scan.tar")); err == nil {
		return nil
	}
	root := b.path("scan", "rootfs")
	for _, name := range []string{"/etc/os-release", "/var/lib/dpkg/status"} {
		if err := os.MkdirAll(filepath.Dir(root+name), 0o755); err != nil {
			return err
		}
		if err := copyFile(root+name, name, 0o644); err != nil {
			return fmt.Errorf("%w: this scene needs a Debian", err)
		}
	}
	if err := os.MkdirAll(root+"/usr/local/bin", 0o755); err != nil {
		return err
	}
	programs := []string{b.camada}
	for _, name := range []string{"go", "osv-scanner"} {
		if path, err := exec.LookPath(name); err == nil {
			programs = append(programs, path)
		}
	}
	for _, p := range programs {
		if err := copyFile(filepath.Join(root, "usr/local/bin", filepath.Base(p)), p, 0o755); err != nil {
			return err
		}
	}
	for pkg := range strings.SplitSeq(scanPython, ", ") {
		name, version, _ := strings.Cut(pkg, " ")
		dir := filepath.Join(root, "usr/lib/python3/dist-packages", name+"-"+version+".dist-info")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "METADATA"), []byte("Metadata-Version: 2.1\nName: "+name+"\nVersion: "+version+"\n"), 0o644); err != nil {
			return err
		}
	}
	if err := os.WriteFile(b.path("scan", "Dockerfile"), []byte("FROM scratch\nCOPY rootfs/etc /etc\nCOPY rootfs/var /var\nCOPY --from=files data /srv\nCOPY rootfs/usr /usr\n"), 0o644); err != nil {
		return err
	}
	ours := b.ours("scan-build")
	if err := b.command(ctx, nil, b.camada, append(ours, "build", "-q", "--build-context", "files="+b.path("context"), "-t", "scanned", b.path("scan"))...); err != nil {
		return err
	}
	if err := b.command(ctx, b.scanEnv(), b.camada, append(ours, "db", "update", "--progress", "quiet", "--from", b.advisories)...); err != nil {
		return err
	}
	// osv-scanner looks for exports below a directory of this name.
	if err := os.MkdirAll(b.path("scan-peer"), 0o755); err != nil {
		return err
	}
	if err := os.Symlink(b.advisories, b.path("scan-peer", "osv-scalibr")); err != nil {
		return err
	}
	return b.command(ctx, nil, b.camada, append(ours, "save", "--format", "docker-archive", "-o", b.path("scan.tar"), "scanned")...)
}

func (b *bench) scanEnv() []string { return []string{"CAMADA_DB=" + b.path("advisories.db")} }

// scanContenders scan the image, or list its packages: cold in a store that it was just loaded into, warm in one that has looked at it before. The peer remembers nothing.
func scanContenders(cold bool, ours, peer []string) func(*bench) []contender {
	return func(b *bench) []contender {
		store := func(round int) string {
			if !cold {
				round = 0
			}
			return fmt.Sprintf("%s-%d", ours[0], round)
		}
		out := []contender{{name: "camada", before: func(ctx context.Context, round int) error {
			if err := b.makeScan(ctx); err != nil || !cold && round > 0 {
				return err
			}
			return b.command(ctx, nil, b.camada, append(b.ours(store(round)), "load", "-q", "-i", b.path("scan.tar"))...)
		}, do: func(ctx context.Context, round int) error {
			return b.command(ctx, b.scanEnv(), b.camada, append(append(b.ours(store(round)), ours...), "scanned")...)
		}}}
		if b.has("osv-scanner", "osv-scanner") {
			out = append(out, contender{name: "osv-scanner", before: func(ctx context.Context, _ int) error { return b.makeScan(ctx) }, do: func(ctx context.Context, _ int) error {
				// 1 tells of findings.
				args := append([]string{"-c", `"$@" >/dev/null; test $? -le 1`, "sh", "osv-scanner", "scan", "image", "--archive", "--offline", "--local-db-path", b.path("scan-peer")}, peer...)
				return b.command(ctx, nil, "sh", append(args, b.path("scan.tar"))...)
			}})
		}
		return out
	}
}

// databaseContenders open the advisory database and look at its header; the other starts and ends.
func databaseContenders(b *bench) []contender {
	run := func(args ...string) func(context.Context, int) error {
		return func(ctx context.Context, _ int) error {
			return b.command(ctx, b.scanEnv(), b.camada, append(b.ours("scan-build"), args...)...)
		}
	}
	prepare := func(ctx context.Context, _ int) error { return b.makeScan(ctx) }
	return []contender{
		{name: "camada db info", before: prepare, do: run("db", "info", "--format", "{{.Advisories}}")},
		{name: "camada version", before: prepare, do: run("version")},
	}
}
