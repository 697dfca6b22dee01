package debian

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/camada/camada/base"
	"github.com/camada/camada/base/debian/aptconfig"
	"github.com/camada/camada/base/debian/dependency"
	"github.com/camada/camada/base/debian/fetch"
	"github.com/camada/camada/base/debian/index"
	"github.com/camada/camada/base/debian/resolve"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/progress"
	"golang.org/x/sync/errgroup"
)

// Resolve verifies the archive and chooses packages. Errors say what the
// archive or the options lack: ErrNotFound for a package or suite that is not there,
// ErrPermission for a signature, ErrCorrupt for what was tampered with,
// ErrUnavailable for what is out of date or out of reach, ErrConflict for packages
// that cannot be together.
func Resolve(ctx context.Context, o Options) (*Plan, error) {
	o.Progress = progress.Or(o.Progress)
	switch o.Variant {
	case "":
		o.Variant = Minbase
	case Minbase, Distroless:
	default:
		return nil, errdefs.Invalid("variant %q: want %s or %s", o.Variant, Minbase, Distroless)
	}
	if o.Variant == Distroless && len(o.Include) == 0 {
		return nil, errdefs.Invalid("variant %s without packages: name some with --include", Distroless)
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	if o.Arch == "" {
		o.Arch = hostArch()
	}
	cfg := o.Apt
	if cfg == nil {
		var err error
		if cfg, err = aptconfig.Read("/"); err != nil {
			return nil, err
		}
	}
	repos, err := choose(o, cfg)
	if err != nil {
		return nil, err
	}
	p := &Plan{Suite: repos[0].suite, Arch: o.Arch, Variant: o.Variant, opts: o, repos: repos}
	p.cache = fetch.Cache{Dir: o.CacheDir, Client: fetch.NewClient(fetch.Options{Proxy: cfg.Proxy()})}
	if o.CacheDir == "" {
		if p.temp, err = os.MkdirTemp(o.TempDir, "camada-debian-"); err != nil {
			return nil, fmt.Errorf("make cache: %w", err)
		}
		p.cache.Dir = p.temp
	}
	if err := p.resolve(ctx); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Close removes what the plan keeps on disk besides the cache directory.
func (p *Plan) Close() error {
	p.cache.Client.Close()
	if p.temp == "" {
		return nil
	}
	return os.RemoveAll(p.temp)
}

func (p *Plan) resolve(ctx context.Context) error {
	pool, err := p.load(ctx)
	if err != nil {
		return err
	}
	p.Codename = p.repos[0].release.Codename
	for _, a := range p.repos {
		p.Sources = append(p.Sources, a.source())
		if a.release.Date.After(p.Released) {
			p.Released = a.release.Date
		}
	}
	req := resolve.Request{Names: p.opts.Include}
	var roots []string
	if p.Variant == Distroless {
		req.Names = append([]string{"base-files"}, req.Names...)
		req.Ignore = scriptNeed
	} else {
		roots = append(pool.Select(isRequired), "apt")
		req.Names = append(roots[:len(roots):len(roots)], req.Names...)
		// The tree is merged from the start: there is nothing to convert.
		req.Exclude = []string{"usrmerge"}
	}
	if p.set, err = resolve.Resolve(pool, req); err != nil {
		return fmt.Errorf("choose packages of %s: %w", p.Suite, err)
	}
	p.core, p.extra = p.set.Order(), nil
	if p.Variant == Minbase {
		p.core = p.set.Closure(roots)
		p.extra = without(p.set.Order(), p.core)
	}
	named := map[string]bool{}
	for _, n := range req.Names {
		name, _, _ := strings.Cut(n, "=")
		named[name] = true
	}
	for _, q := range append(p.core[:len(p.core):len(p.core)], p.extra...) {
		p.Packages = append(p.Packages, base.Package{
			Name: q.Name, Version: q.Version, Architecture: q.Architecture, Source: q.Source,
			SHA256: q.SHA256, Size: q.Size, Auto: !named[q.Name],
		})
	}
	return nil
}

func isRequired(p *index.Package) bool { return p.Essential || p.Priority == "required" }

func without(all, these []*index.Package) []*index.Package {
	drop := map[*index.Package]bool{}
	for _, p := range these {
		drop[p] = true
	}
	var out []*index.Package
	for _, p := range all {
		if !drop[p] {
			out = append(out, p)
		}
	}
	return out
}

// load verifies the archives side by side, then reads their packages in order.
func (p *Plan) load(ctx context.Context) (*resolve.Pool, error) {
	g, gctx := errgroup.WithContext(ctx)
	for _, a := range p.repos {
		g.Go(func() error { return a.open(gctx, p.cache.Client, p.opts.Now, p.opts.Snapshot) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	pool := resolve.NewPool(p.Arch)
	for i, a := range p.repos {
		if err := a.load(ctx, p.cache, p.Arch, i, pool, p.opts.Progress); err != nil {
			return nil, err
		}
	}
	return pool, nil
}

// scriptNeed reports whether a package needs g for its maintainer scripts only;
// Distroless, which runs none, takes such needs as met. They are known by name:
// the tools that scripts ask questions with (debconf), make users with (adduser,
// passwd, base-passwd), register services or documentation with, and dpkg
// itself; and the programs that two packages want for their scripts alone.
func scriptNeed(p *index.Package, g dependency.Group) bool {
	for _, r := range g {
		switch r.Name {
		case "debconf", "debconf-2.0", "cdebconf", "dpkg", "adduser", "passwd", "base-passwd", "ucf", "install-info",
			"init-system-helpers", "sysvinit-utils", "lsb-base", "sensible-utils", "update-inetd", "usrmerge",
			"usr-is-merged", "debianutils", "libpam-runtime":
			return true
		case "awk":
			return p.Name == "base-files"
		case "openssl":
			return p.Name == "ca-certificates"
		}
	}
	return false
}
