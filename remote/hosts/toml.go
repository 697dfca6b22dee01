package hosts

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/remote"
	"github.com/pelletier/go-toml/v2/unstable"
)

// hubAPI is where docker.io itself is asked.
const hubAPI = "registry-1.docker.io"

// hostsToml is a hosts.toml (containerd's docs/hosts.md).
type hostsToml struct {
	Server string `toml:"server"`
	hostToml
	Hosts map[string]hostToml `toml:"host"`
}

// hostToml is what is said of a place.
type hostToml struct {
	Capabilities []string       `toml:"capabilities"`
	CA           any            `toml:"ca"`
	Client       any            `toml:"client"`
	SkipVerify   bool           `toml:"skip_verify"`
	Header       map[string]any `toml:"header"`
	OverridePath bool           `toml:"override_path"`
	DialTimeout  string         `toml:"dial_timeout"`
}

// expand finds the places of a host: those of its hosts.toml, or the host itself.
func (f *Files) expand(t target) ([]remote.Site, error) {
	for _, name := range names(t.host) {
		for _, dir := range f.opts.Dirs {
			file := filepath.Join(dir, name, "hosts.toml")
			data, err := readFile(file)
			if err != nil {
				return nil, err
			}
			if data == nil {
				continue
			}
			sites, err := parseHosts(string(data), t, file)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			return sites, nil
		}
	}
	return []remote.Site{{
		Name: t.host, Repository: t.repository, Source: t.file, Insecure: t.insecure, Address: apiOf(t.host),
		Resolve: t.resolve, Pull: true, Push: t.push,
	}}, nil
}

func apiOf(host string) string {
	if host == reference.DefaultHost {
		return hubAPI
	}
	return ""
}

// names are what a host's directory may be called.
func names(host string) []string {
	bare, port, ok := strings.Cut(host, ":")
	if ok && !strings.HasPrefix(host, "[") {
		return []string{bare + "_" + port + "_", host, "_default"}
	}
	return []string{host, "_default"}
}

// parseHosts reads a hosts.toml for a host: its places in the order of the file, the host itself last.
func parseHosts(text string, t target, file string) ([]remote.Site, error) {
	var c hostsToml
	if err := decode(text, &c); err != nil {
		return nil, err
	}
	inOrder, err := order(text)
	if err != nil {
		return nil, err
	}
	if len(inOrder) != len(c.Hosts) {
		return nil, errdefs.Unsupported("write each host as [host.\"ADDRESS\"]: only those have an order")
	}
	var sites []remote.Site
	for _, name := range inOrder {
		s, err := c.Hosts[name].site(name, t, file)
		if err != nil {
			return nil, fmt.Errorf("host %q: %w", name, err)
		}
		s.Name = s.Address
		s.Push = s.Push && t.push
		sites = append(sites, s)
	}
	server := c.Server
	if server == "" {
		server = t.host
		if api := apiOf(t.host); api != "" {
			server = api
		}
	}
	s, err := c.site(server, t, file)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	if c.Server == "" {
		s.Scheme = "" // as for any host
	}
	s.Name, s.Push, s.Insecure = t.host, s.Push && t.push, s.Insecure || t.insecure
	return append(sites, s), nil
}

// site reads what is said of a place.
func (h hostToml) site(address string, t target, file string) (remote.Site, error) {
	s := remote.Site{Repository: t.repository, Source: file, Insecure: h.SkipVerify, Resolve: true, Pull: true, Push: true}
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return s, errdefs.Invalid("want https://HOST[:PORT][/PATH]")
	}
	s.Scheme, s.Address = u.Scheme, u.Host
	base := strings.TrimSuffix(path.Clean("/"+u.Path), "/")
	if !h.OverridePath && !strings.HasSuffix(base, "/v2") {
		base += "/v2"
	}
	s.Base = &base
	if u.Host != t.host && (t.host != reference.DefaultHost || u.Host != hubAPI) {
		s.Namespace = t.host
	}
	if h.Capabilities != nil {
		if err := capabilities(&s, h.Capabilities); err != nil {
			return s, err
		}
	}
	s.Resolve = s.Resolve && t.resolve
	if s.Authorities, err = stringList("ca", h.CA); err != nil {
		return s, err
	}
	if s.Clients, err = keyPairs(h.Client); err != nil {
		return s, err
	}
	dir := filepath.Dir(file)
	for i := range s.Authorities {
		s.Authorities[i] = below(dir, s.Authorities[i])
	}
	for i := range s.Clients {
		s.Clients[i] = remote.KeyPair{Certificate: below(dir, s.Clients[i].Certificate), Key: below(dir, s.Clients[i].Key)}
	}
	if s.Header, err = header(h.Header); err != nil {
		return s, err
	}
	if h.DialTimeout != "" {
		if s.DialTimeout, err = time.ParseDuration(h.DialTimeout); err != nil || s.DialTimeout <= 0 {
			return s, errdefs.Invalid("dial_timeout %q: want a time as 2s", h.DialTimeout)
		}
	}
	return s, nil
}

func capabilities(s *remote.Site, list []string) error {
	s.Resolve, s.Pull, s.Push = false, false, false
	for _, c := range list {
		switch c {
		case "resolve":
			s.Resolve = true
		case "pull":
			s.Pull = true
		case "push":
			s.Push = true
		case "referrers": // they are asked for where tags are
		default:
			return errdefs.Invalid("capability %q: want pull, resolve or push", c)
		}
	}
	return nil
}

// below makes a path absolute; "" stays.
func below(dir, p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(dir, p)
}

// stringList reads a string or a list of strings.
func stringList(key string, v any) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		var out []string
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, errdefs.Invalid("%s: want a string or a list of strings", key)
			}
			out = append(out, s)
		}
		return out, nil
	}
	return nil, errdefs.Invalid("%s: want a string or a list of strings", key)
}

// keyPairs reads a file, a list of files, or a list of pairs of a certificate and its key.
func keyPairs(v any) ([]remote.KeyPair, error) {
	list, isList := v.([]any)
	if !isList {
		list = []any{v}
	}
	if v == nil {
		return nil, nil
	}
	var out []remote.KeyPair
	for _, e := range list {
		pair, err := stringList("client", e)
		switch {
		case err != nil:
			return nil, err
		case len(pair) == 1:
			out = append(out, remote.KeyPair{Certificate: pair[0]})
		case len(pair) == 2:
			out = append(out, remote.KeyPair{Certificate: pair[0], Key: pair[1]})
		default:
			return nil, errdefs.Invalid("client: want files, or pairs [CERTIFICATE, KEY]")
		}
	}
	return out, nil
}

// header reads the fields of requests. Their values may be secrets, and are in no error.
func header(fields map[string]any) (http.Header, error) {
	var out http.Header
	for k, v := range fields {
		values, err := stringList("header "+k, v)
		if err != nil {
			return nil, err
		}
		for _, value := range values {
			if k == "" || strings.ContainsAny(k, " \t\r\n:\x00") || strings.ContainsAny(value, "\r\n\x00") {
				return nil, errdefs.Invalid("header %q: it cannot be sent", k)
			}
			if out == nil {
				out = http.Header{}
			}
			out.Add(k, value)
		}
	}
	return out, nil
}

// order lists the hosts of a file as they stand in it.
func order(text string) ([]string, error) {
	var p unstable.Parser
	p.Reset([]byte(text))
	var names []string
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind != unstable.Table {
			continue
		}
		keys := e.Key()
		if !keys.Next() || string(keys.Node().Data) != "host" || !keys.Next() {
			continue
		}
		if name := string(keys.Node().Data); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, errdefs.With(errdefs.ErrInvalid, p.Error())
}
