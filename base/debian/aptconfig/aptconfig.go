// Package aptconfig reads how a machine's apt is set up: which archives it
// uses, the keys it trusts them with, and its proxy.
//
//	cfg, err := aptconfig.Read("/")
//	for _, s := range cfg.Sources { ... }
//	transport.Proxy = cfg.Proxy()
//
// It reads sources.list(5) in both of its forms and apt.conf(5); it never
// runs apt. Sources marked as trusted without a signature are kept, but the mark
// is not.
package aptconfig

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/camada/camada/errdefs"
)

const (
	maxFile  = 1 << 20
	maxFiles = 1000
)

// Source is one archive with some of its suites. Only binary packages' sources
// are told of, and no disabled ones.
type Source struct {
	URIs   []string
	Suites []string
	// Components is empty when a Suite is a path that ends in a slash.
	Components []string
	// Architectures is empty when it is not restricted.
	Architectures []string
	// SignedBy are the keyring files that the archive must be signed with,
	// Fingerprints keys among the trusted ones, and Key an armored key in place.
	// When all are empty, Config.Trusted holds.
	SignedBy     []string
	Fingerprints []string
	Key          string
	// NoValidUntil is set when the Release file may be out of date.
	NoValidUntil bool
	// File says where the source is written down.
	File string
}

// Config is a machine's configuration.
type Config struct {
	Sources []Source
	// Trusted are the keyrings of trusted.gpg and trusted.gpg.d.
	Trusted []string
	// ID and Codename are those of os-release: "debian", "bookworm".
	ID       string
	Codename string

	options map[string]string
}

// Option returns a value of apt.conf by its full name, "" when it is not set.
func (c *Config) Option(name string) string { return c.options[strings.ToLower(name)] }

// Read reads the configuration of the system whose root directory is root.
// What does not exist is no error: the Config is then empty.
func Read(root string) (*Config, error) {
	c := &Config{options: map[string]string{}}
	apt := filepath.Join(root, "etc/apt")
	confs, err := parts(filepath.Join(apt, "apt.conf.d"), "", ".conf")
	if err != nil {
		return nil, err
	}
	for _, name := range append(confs, filepath.Join(apt, "apt.conf")) {
		if err := with(name, func(r io.Reader) error { return parseOptions(r, c.options) }); err != nil {
			return nil, err
		}
	}
	lists, err := parts(filepath.Join(apt, "sources.list.d"), ".list", ".sources")
	if err != nil {
		return nil, err
	}
	for _, name := range append([]string{filepath.Join(apt, "sources.list")}, lists...) {
		parse := ParseList
		if strings.HasSuffix(name, ".sources") {
			parse = ParseSources
		}
		err := with(name, func(r io.Reader) error {
			found, err := parse(r)
			for i := range found {
				found[i].File = name
			}
			c.Sources = append(c.Sources, found...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	keys, err := parts(filepath.Join(apt, "trusted.gpg.d"), ".gpg", ".asc")
	if err != nil {
		return nil, err
	}
	for _, name := range append([]string{filepath.Join(apt, "trusted.gpg")}, keys...) {
		if st, err := os.Stat(name); err == nil && st.Mode().IsRegular() {
			c.Trusted = append(c.Trusted, name)
		}
	}
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		if c.ID == "" {
			if err := with(filepath.Join(root, name), c.readRelease); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

// parts lists the files of a directory that have one of the endings and that
// apt does not ignore, in their order.
func parts(dir string, endings ...string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read apt's configuration: %w", err)
	}
	if len(entries) > maxFiles {
		return nil, errdefs.Limit("%s: more than %d files", dir, maxFiles)
	}
	var names []string
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") {
			continue
		}
		for _, end := range endings {
			if filepath.Ext(name) == end {
				names = append(names, filepath.Join(dir, name))
			}
		}
	}
	sort.Strings(names)
	return names, nil
}

// with calls fn with the beginning of a file; a file that is not there is empty.
func with(name string, fn func(io.Reader) error) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read apt's configuration: %w", err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return err
	} else if st.Size() > maxFile {
		return errdefs.Limit("%s: larger than %d bytes", name, maxFile)
	}
	if err := fn(io.LimitReader(f, maxFile)); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (c *Config) readRelease(r io.Reader) error {
	s := bufio.NewScanner(r)
	for s.Scan() {
		k, v, _ := strings.Cut(s.Text(), "=")
		v = strings.Trim(v, `"'`)
		switch k {
		case "ID":
			c.ID = v
		case "VERSION_CODENAME":
			c.Codename = v
		}
	}
	return s.Err()
}
