package hosts

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/remote"
)

// daemonJSON is what the configuration of Docker's daemon says of registries; the rest of it is about other things.
type daemonJSON struct {
	Mirrors  []string `json:"registry-mirrors"`
	Insecure []string `json:"insecure-registries"`
}

// daemon is a daemon.json that was looked at. The zero value says nothing.
type daemon struct {
	file     string
	mirrors  []*url.URL
	insecure []string
}

// readDaemon reads the user's daemon.json, as rootless Docker has it, or else that of the system.
func (f *Files) readDaemon() (daemon, error) {
	d := daemon{file: filepath.Join(f.opts.Etc, "docker/daemon.json")}
	if config := f.config(); config != "" {
		mine := filepath.Join(config, "docker/daemon.json")
		if _, err := os.Stat(mine); err == nil {
			d.file = mine
		}
	}
	data, err := readFile(d.file)
	if err != nil || data == nil {
		return daemon{}, err
	}
	if err := d.parse(data); err != nil {
		return daemon{}, fmt.Errorf("%s: %w", d.file, err)
	}
	return d, nil
}

// parse reads the text.
func (d *daemon) parse(data []byte) error {
	var c daemonJSON
	if err := json.Unmarshal(data, &c); err != nil {
		return errdefs.With(errdefs.ErrInvalid, err)
	}
	for _, text := range c.Mirrors {
		u, err := url.Parse(strings.TrimSuffix(text, "/"))
		// The text may have a password in it.
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
			return errdefs.Invalid("registry-mirrors: a mirror is https://HOST[:PORT] or http://HOST[:PORT], without a user, a path or a query")
		}
		if err := checkPlace("registry-mirrors", u.Host); err != nil {
			return err
		}
		d.mirrors = append(d.mirrors, u)
	}
	for _, text := range c.Insecure {
		for _, scheme := range []string{"https://", "http://"} {
			text = strings.TrimPrefix(text, scheme)
		}
		d.insecure = append(d.insecure, text)
	}
	return nil
}

// before are the places that docker.io's mirrors are, for what nothing else was said of.
func (d *daemon) before(targets []target) []remote.Site {
	if len(targets) != 1 || targets[0].host != reference.DefaultHost || targets[0].file != "" {
		return nil
	}
	var sites []remote.Site
	for _, m := range d.mirrors {
		sites = append(sites, remote.Site{
			Name: m.Host, Scheme: m.Scheme, Repository: targets[0].repository, Source: d.file, Resolve: true, Pull: true,
		})
	}
	return sites
}

// allow marks the places that need no certificate.
func (d *daemon) allow(sites []remote.Site) {
	for i := range sites {
		if remote.Listed(sites[i].Name, d.insecure) {
			sites[i].Insecure = true
		}
	}
}
