package debian

import (
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/base/debian/aptconfig"
	"github.com/camada/camada/base/debian/index"
	"github.com/camada/camada/errdefs"
)

// debianKeyring is where the package debian-archive-keyring has its keys.
const debianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// ParseSnapshot reads a time for Options.Snapshot: 20260131, 2026-01-31,
// 20260131T120000Z or RFC 3339. It is in UTC. Errors are of class ErrInvalid.
func ParseSnapshot(s string) (time.Time, error) {
	for _, layout := range []string{"20060102", time.DateOnly, "20060102T150405Z", time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, errdefs.Invalid("snapshot %q: want a date such as 20260131 or 20260131T120000Z", s)
}

// choose makes the list of archives to be read from the options and what apt knows.
func choose(o Options, cfg *aptconfig.Config) ([]*archive, error) {
	var sources []aptconfig.Source
	suite := o.Suite
	if o.Mirror != "" {
		if suite == "" {
			if suite = machineSuite(cfg); suite == "" {
				return nil, errdefs.Invalid("no suite: name one with --suite")
			}
		}
		sources = []aptconfig.Source{{URIs: []string{o.Mirror}, Suites: []string{suite}}}
		if own, ok := find(cfg, machineSuite(cfg)); ok && cfg.ID == "debian" {
			sources[0].SignedBy, sources[0].Key, sources[0].Fingerprints = own.SignedBy, own.Key, own.Fingerprints
		}
	} else {
		own := machineSuite(cfg)
		if own == "" {
			return nil, errdefs.NotFound("apt's configuration names no Debian archive: name one with --mirror, --suite and --keyring")
		}
		if suite == "" {
			suite = own
		}
		sources = family(cfg, own, suite, o.ReleaseOnly)
	}
	var all []*archive
	for _, s := range sources {
		a, err := newArchive(o, cfg, s)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

func newArchive(o Options, cfg *aptconfig.Config, s aptconfig.Source) (*archive, error) {
	address := s.URIs[0]
	if !o.Snapshot.IsZero() {
		template := ""
		if v := cfg.Option("Acquire::Snapshots::URI::Origin::Debian"); v != "" {
			template = strings.ReplaceAll(strings.ReplaceAll(v, "@SNAPSHOTID@", "{timestamp}"), "/debian/", "/{archive}/")
		}
		if strings.Contains(o.Mirror, "{timestamp}") {
			template = o.Mirror
		}
		if template == "" {
			return nil, errdefs.Invalid("--snapshot needs an archive that keeps old states: name it with --mirror, with {timestamp} where the time goes, or in apt's Acquire::Snapshots::URI::Origin::Debian")
		}
		name := "debian"
		if o.Mirror == "" {
			name = path.Base(strings.TrimSuffix(address, "/"))
		}
		address = strings.NewReplacer("{archive}", name, "{timestamp}", o.Snapshot.UTC().Format("20060102T150405Z")).Replace(template)
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "file" && (u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return nil, errdefs.Invalid("mirror %q: want the address of an archive, http, https or file", address)
	}
	a := &archive{
		uri: u, suite: s.Suites[0], components: o.Components,
		old:    s.NoValidUntil || !o.Snapshot.IsZero(),
		debian: o.Mirror == "",
	}
	if len(a.components) == 0 {
		a.components = []string{"main"}
	}
	a.keyring, err = keyring(o, cfg, s)
	return a, err
}

// machineSuite is the suite of apt's configuration that the machine itself is of, or
// else the first one that is a release's.
func machineSuite(cfg *aptconfig.Config) string {
	if _, ok := find(cfg, cfg.Codename); ok && cfg.ID == "debian" {
		return cfg.Codename
	}
	for _, s := range cfg.Sources {
		for _, suite := range s.Suites {
			if slices.Contains(s.Components, "main") && !strings.ContainsAny(suite, "-/") {
				return suite
			}
		}
	}
	return ""
}

// find returns the first source that has the suite with its main component.
func find(cfg *aptconfig.Config, suite string) (aptconfig.Source, bool) {
	for _, s := range cfg.Sources {
		if suite != "" && slices.Contains(s.Suites, suite) && slices.Contains(s.Components, "main") {
			return s, true
		}
	}
	return aptconfig.Source{}, false
}

// family returns the machine's sources for the release own and its updates and
// security suites, with the suite that was asked for in its place.
func family(cfg *aptconfig.Config, own, suite string, releaseOnly bool) []aptconfig.Source {
	var out []aptconfig.Source
	for _, ending := range []string{"", "-updates", "-security"} {
		if ending != "" && (releaseOnly || suite == "sid" || suite == "unstable" || suite == "experimental") {
			break
		}
		if s, ok := find(cfg, own+ending); ok {
			s.Suites = []string{suite + ending}
			out = append(out, s)
		}
	}
	return out
}

// keyring reads the keys that must have signed a source.
func keyring(o Options, cfg *aptconfig.Config, s aptconfig.Source) (*index.Keyring, error) {
	files := o.Keyrings
	all := &index.Keyring{}
	if len(files) == 0 && s.Key != "" {
		k, err := index.ParseKeyring([]byte(s.Key))
		if err != nil {
			return nil, err
		}
		all.Add(k)
	}
	if len(files) == 0 {
		files = s.SignedBy
	}
	if len(files) == 0 && s.Key == "" {
		files = cfg.Trusted
		if _, err := os.Stat(debianKeyring); err == nil && (len(files) == 0 || cfg.ID != "debian") {
			files = []string{debianKeyring}
		}
	}
	for _, f := range files {
		k, err := index.ReadKeyring(f)
		if err != nil {
			return nil, err
		}
		all.Add(k)
	}
	if len(o.Keyrings) == 0 && len(s.Fingerprints) > 0 {
		all = all.Only(s.Fingerprints)
	}
	if all.Len() == 0 {
		return nil, errdefs.NotFound("no key to verify suite %s with: name a keyring with --keyring", s.Suites[0])
	}
	return all, nil
}
