package slim

import (
	"path"
	"slices"
	"strings"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/errdefs"
)

// Extras are the rules that Options.Keep can turn on.
func Extras() []string { return []string{"locale", "shell", "zoneinfo"} }

// Check refuses rules that are not known, and patterns that are none, with ErrInvalid: before a run whose result would be lost.
func (o *Options) Check() error {
	for _, k := range o.Keep {
		if !slices.Contains(Extras(), k) {
			return errdefs.Invalid("%q is nothing that can be kept: want %s", k, strings.Join(Extras(), ", "))
		}
	}
	for _, p := range slices.Concat(o.Include, o.Exclude) {
		if _, err := anatomy.Pattern(p); err != nil {
			return err
		}
	}
	return nil
}

// rules keep what is needed though nobody opens it, or nobody did so in a short run.
func (c *chooser) rules() error {
	if err := c.opts.Check(); err != nil {
		return err
	}
	for _, cmd := range c.opts.Commands {
		if len(cmd) > 0 {
			c.x.program(cmd[0], "a command of the image's config")
		}
	}
	for _, dir := range append([]string{"tmp", "var/tmp", "run", "var/run", "var/lock", "var/log", "var/cache", "var/lib", "proc", "sys", "dev", "etc", "root", c.opts.Workdir, c.opts.Home}, c.opts.Volumes...) {
		c.known(dir, "a directory that programs expect")
	}
	for _, v := range c.opts.Volumes { // what is in it fills a new volume
		if n := c.t.find(v, false).end; n != nil && n.parent != nil {
			c.whole(n, "in a volume")
		}
	}
	for _, r := range []struct {
		why   string
		paths []string
	}{
		{"users and name services", []string{"etc/passwd", "etc/group", "etc/nsswitch.conf", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/host.conf", "etc/gai.conf"}},
		{"the distribution's name", []string{"etc/os-release", "usr/lib/os-release", "etc/debian_version", "etc/alpine-release", "etc/redhat-release"}},
		{"time zone", []string{"etc/localtime", "etc/timezone"}},
		{"certificates", []string{"etc/ssl/certs/ca-certificates.crt", "etc/ssl/cert.pem", "etc/ssl/ca-bundle.pem", "etc/pki/tls/certs/ca-bundle.crt", "etc/pki/tls/cert.pem", "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"}},
	} {
		for _, p := range r.paths {
			c.known(p, r.why)
		}
	}
	if slices.Contains(c.opts.Keep, "shell") {
		c.x.program("sh", "the shell")
	}
	if slices.Contains(c.opts.Keep, "zoneinfo") || envOf(c.opts.Env, "TZ", "") != "" {
		c.tree("usr/share/zoneinfo", "time zones")
	}
	if slices.Contains(c.opts.Keep, "locale") {
		c.tree("usr/lib/locale", "locales")
		c.tree("usr/share/locale", "locales")
	}
	return nil
}

// known keeps what a path leads to, when there is something.
func (c *chooser) known(name, why string) {
	if c.t.find(name, false).end != nil {
		c.keep(name, false, why)
	}
}

// tree keeps a directory with all in it.
func (c *chooser) tree(name, why string) {
	if n := c.t.find(name, false).end; n != nil {
		c.known(name, why)
		c.whole(n, why)
	}
}

// afterwards keeps what belongs to what was kept.
func (c *chooser) afterwards() {
	dynamic := false
	c.t.root.each(func(n *node) {
		if !n.kept {
			return
		}
		dir := path.Dir(n.path())
		switch {
		case n.name == "libc.so.6":
			// The C library opens these by itself: name services by nsswitch.conf, and libgcc_s when a thread is ended.
			for _, lib := range []string{"libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2", "libgcc_s.so.1"} {
				c.known(path.Join(dir, lib), "opened by the C library when it is needed")
			}
			dynamic = true
		case strings.HasPrefix(n.name, "ld-musl-"):
			dynamic = true
		}
	})
	if dynamic {
		for _, p := range []string{"etc/ld.so.cache", "etc/ld-musl-x86_64.path", "etc/ld-musl-aarch64.path"} {
			c.known(p, "where libraries are")
		}
	}
	// One of many that was used: which is used depends on the day.
	zone := c.t.find("etc/localtime", false).end
	c.one("usr/share/zoneinfo", "time zones", func(n *node) bool { return n != zone })
	bundle := c.t.find("etc/ssl/certs/ca-certificates.crt", false).end
	c.one("etc/ssl/certs", "certificates", func(n *node) bool { return n != bundle && n.reason != "certificates" })
	for _, dir := range []string{"usr/lib/locale", "usr/share/locale"} {
		if n := c.t.find(dir, false).end; n != nil {
			for _, k := range n.children() {
				c.one(k.path(), "locales", func(*node) bool { return true })
			}
		}
	}
}

// one keeps a directory with all in it when a file in it was used that counts.
func (c *chooser) one(name, why string, counts func(*node) bool) {
	dir := c.t.find(name, false).end
	if dir == nil || !dir.isDir() {
		return
	}
	used := false
	dir.each(func(n *node) {
		used = used || n.kept && !n.isDir() && counts(n) && (n.reason == "opened" || n.reason == "looked at")
	})
	if used {
		c.tree(name, why)
	}
}
