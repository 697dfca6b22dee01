package hosts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/reference"
)

// registriesConf is a file of containers-registries.conf(5), version 2.
type registriesConf struct {
	Registries []registry `toml:"registry"`

	// What follows is about names without a host, or for others.
	Search          []string          `toml:"unqualified-search-registries"`
	ShortNameMode   string            `toml:"short-name-mode"`
	Aliases         map[string]string `toml:"aliases"`
	Helpers         []string          `toml:"credential-helpers"`
	LayerStoreAuth  string            `toml:"additional-layer-store-auth-helper"`
	VersionOneTable any               `toml:"registries"`
}

type registry struct {
	Prefix       string   `toml:"prefix"`
	Location     string   `toml:"location"`
	Insecure     bool     `toml:"insecure"`
	Blocked      bool     `toml:"blocked"`
	ByDigestOnly bool     `toml:"mirror-by-digest-only"`
	Mirrors      []mirror `toml:"mirror"`
}

type mirror struct {
	Location string `toml:"location"`
	Insecure bool   `toml:"insecure"`
	Pull     string `toml:"pull-from-mirror"`
}

// rule is a registry that was looked at, with the file that has it.
type rule struct {
	registry
	file string
}

// The values of pull-from-mirror.
const (
	pullAll     = "all"
	pullDigests = "digest-only"
	pullTags    = "tag-only"
)

// readRules reads all files. A prefix in a later file replaces that of an earlier one.
func (f *Files) readRules() ([]rule, error) {
	paths, err := f.registriesFiles()
	if err != nil {
		return nil, err
	}
	var all []rule
	for _, path := range paths {
		data, err := readFile(path)
		if err != nil {
			return nil, err
		}
		rules, err := parseRegistries(string(data))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for _, r := range rules {
			r.file = path
			all = put(all, r)
		}
	}
	return all, nil
}

func put(all []rule, r rule) []rule {
	for i := range all {
		if all[i].Prefix == r.Prefix {
			all[i] = r
			return all
		}
	}
	return append(all, r)
}

// registriesFiles lists the files in the order in which they count.
func (f *Files) registriesFiles() ([]string, error) {
	if path := f.opts.Getenv("CONTAINERS_REGISTRIES_CONF"); path != "" {
		return []string{path}, nil
	}
	main := filepath.Join(f.opts.Etc, "containers/registries.conf")
	dirs := []string{main + ".d"}
	if config := f.config(); config != "" {
		mine := filepath.Join(config, "containers/registries.conf")
		if _, err := os.Stat(mine); err == nil {
			main = mine
		}
		dirs = append(dirs, mine+".d")
	}
	paths := []string{main}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read the configuration of registries: %w", err)
		}
		if len(entries) > maxDropIns {
			return nil, errdefs.Limit("%s has more than %d files", dir, maxDropIns)
		}
		for _, e := range entries { // sorted by name
			if strings.HasSuffix(e.Name(), ".conf") {
				paths = append(paths, filepath.Join(dir, e.Name()))
			}
		}
	}
	return paths, nil
}

// config is the directory of the user's configuration; "" when there is none.
func (f *Files) config() string {
	config := f.opts.Getenv("XDG_CONFIG_HOME")
	if home := f.opts.Getenv("HOME"); config == "" && home != "" {
		config = filepath.Join(home, ".config")
	}
	return config
}

// parseRegistries reads one file.
func parseRegistries(text string) ([]rule, error) {
	var c registriesConf
	if err := decode(text, &c); err != nil {
		return nil, err
	}
	if c.VersionOneTable != nil {
		return nil, errdefs.Unsupported("[registries.*] is version 1 of the format: write [[registry]] entries")
	}
	var rules []rule
	for _, r := range c.Registries {
		if r.Prefix == "" {
			r.Prefix = r.Location
		}
		if r.Location == "" && !strings.HasPrefix(r.Prefix, "*.") {
			r.Location = r.Prefix
		}
		if err := r.check(); err != nil {
			return nil, err
		}
		rules = append(rules, rule{registry: r})
	}
	return rules, nil
}

func (r registry) check() error {
	prefix := strings.TrimPrefix(r.Prefix, "*.")
	if err := checkPlace("prefix", prefix); err != nil {
		return err
	}
	if prefix != r.Prefix && strings.Contains(prefix, "/") {
		return errdefs.Unsupported("prefix %q: a wildcard stands for hosts only", r.Prefix)
	}
	if r.Location != "" {
		if err := checkPlace("location", r.Location); err != nil {
			return err
		}
	}
	for _, m := range r.Mirrors {
		if err := checkPlace("location of a mirror", m.Location); err != nil {
			return err
		}
		switch m.Pull {
		case "", pullAll, pullDigests, pullTags:
		default:
			return errdefs.Invalid("pull-from-mirror %q: want %s, %s or %s", m.Pull, pullAll, pullDigests, pullTags)
		}
		if r.ByDigestOnly && m.Pull != "" && m.Pull != pullDigests {
			return errdefs.Invalid("mirror-by-digest-only and pull-from-mirror %q contradict each other", m.Pull)
		}
	}
	return nil
}

// checkPlace checks HOST[/PATH].
func checkPlace(what, s string) error {
	host, path, _ := strings.Cut(s, "/")
	ref, err := reference.Parse(host + "/" + strings.TrimPrefix(path+"/x", "/"))
	if err != nil || ref.Host != host || ref.Tag != reference.DefaultTag || ref.Digest != "" {
		return errdefs.Invalid("%s %q: want HOST[:PORT][/NAME]", what, s)
	}
	return nil
}

// target is a host that a name is asked for at, and the name's repository there.
type target struct {
	host, repository string
	insecure         bool
	resolve, push    bool
	// file says so; "" when none does.
	file string
}

// at moves a target to another place, HOST/REPOSITORY.
func (t target) at(place string) target {
	t.host, t.repository, _ = strings.Cut(place, "/")
	if t.host == reference.DefaultHost && t.repository != "" && !strings.Contains(t.repository, "/") {
		t.repository = "library/" + t.repository
	}
	return t
}

// follow finds the hosts that a name leads to: the mirrors, and then the place itself.
func follow(rules []rule, host, repository string) ([]target, error) {
	name := strings.TrimSuffix(host+"/"+repository, "/")
	var best rule
	length := 0
	for _, r := range rules {
		if n := r.matches(name); n > length {
			best, length = r, n
		}
	}
	if length == 0 {
		return []target{{host: host, repository: repository, resolve: true, push: true}}, nil
	}
	if best.Blocked {
		return nil, errdefs.Permission("%s is blocked in %s", best.Prefix, best.file)
	}
	rest := name[length:]
	var all []target
	for _, m := range best.Mirrors {
		t := target{insecure: m.Insecure, resolve: m.Pull != pullDigests && !best.ByDigestOnly, file: best.file}
		all = append(all, t.at(m.Location+rest))
	}
	last := target{host: host, repository: repository, insecure: best.Insecure, resolve: true, push: true, file: best.file}
	if best.Location != "" {
		last = last.at(best.Location + rest)
	}
	return append(all, last), nil
}

// matches returns how much of a name the prefix stands for; 0 is nothing.
func (r rule) matches(name string) int {
	n := len(r.Prefix)
	if suffix, ok := strings.CutPrefix(r.Prefix, "*"); ok {
		host, _, _ := strings.Cut(name, "/")
		bare, _, _ := strings.Cut(host, ":")
		if strings.HasSuffix(host, suffix) && len(host) > len(suffix) {
			return len(host)
		}
		if strings.HasSuffix(bare, suffix) && len(bare) > len(suffix) {
			return len(bare)
		}
		return 0
	}
	if !strings.HasPrefix(name, r.Prefix) || len(name) > n && name[n] != '/' && name[n] != ':' {
		return 0
	}
	return n
}
