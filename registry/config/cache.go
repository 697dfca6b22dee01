package config

import (
	"net/url"
	"strings"
	"time"

	"github.com/camada/camada/reference"
)

// Cache is a registry that copies are kept of, see package proxy.
type Cache struct {
	// Host is the registry as references name it, Prefix where the copies are.
	Host, Prefix string
	// Upstream is where it is asked; nil is the host itself. Mirrors are asked before.
	Upstream *url.URL
	Mirrors  []*url.URL
	// Plain are patterns of repositories that are read without the prefix, too.
	Plain []string
	// Credentials is a file as docker has it. Or Username, and a file with the password.
	Credentials, Username, PasswordFile string
	// Authorities are files of certificates besides the system's.
	Authorities []string
	// Insecure checks no certificates.
	Insecure bool
	// Fresh is how long a tag counts, Absent how long that something is not there.
	Fresh, Absent time.Duration
	// Unused and Size say what is removed; 0 is nothing.
	Unused time.Duration
	Size   int64
}

// Defaults of a Cache.
const (
	defaultFresh  = 10 * time.Minute
	defaultAbsent = 30 * time.Second
)

// readCaches reads the list.
func readCaches(sections []*section) []Cache {
	var list []Cache
	for _, s := range sections {
		c := readCache(s)
		for _, other := range list {
			if c.Prefix != "" && c.Prefix == other.Prefix {
				s.Bad(s.Sub("prefix"), "%s is another one's, too", c.Prefix)
			}
		}
		list = append(list, c)
	}
	return list
}

func readCache(s *section) Cache {
	c := Cache{Host: s.Text("host"), Prefix: s.Text("prefix"), Upstream: s.place("upstream"), Credentials: s.file("credentials"), Username: s.Text("username"),
		PasswordFile: s.file("password"), Insecure: s.Flag("insecure"), Unused: s.Duration("unused"), Size: s.Size("size"), Fresh: defaultFresh, Absent: defaultAbsent}
	if ref, err := reference.Parse(c.Host + "/x/y"); c.Host == "" || err != nil || ref.Host != c.Host {
		s.Bad(s.Path, "host is missing, or is none: want one like docker.io")
	}
	if c.Prefix == "" {
		c.Prefix = c.Host
	}
	if !reference.ValidRepository(c.Prefix) {
		s.Bad(s.Path, "prefix: %q cannot begin the name of a repository; name another one", c.Prefix)
	}
	for _, t := range s.Texts("mirrors") {
		if u := parsePlace(t); u != nil {
			c.Mirrors = append(c.Mirrors, u)
		} else {
			s.Bad(s.Sub("mirrors"), "want https://HOST[:PORT][/REPOSITORY]")
		}
	}
	if s.Get("plain") != nil {
		c.Plain = s.patterns("plain")
	}
	for _, a := range s.Texts("authorities") {
		c.Authorities = append(c.Authorities, s.join(a))
	}
	if s.Get("fresh") != nil {
		c.Fresh = s.Duration("fresh")
	}
	if s.Get("absent") != nil {
		c.Absent = s.Duration("absent")
	}
	if (c.Username == "") != (c.PasswordFile == "") {
		s.Bad(s.Path, "want both username and password, which names a file")
	}
	if c.Username != "" && c.Credentials != "" {
		s.Bad(s.Path, "want either username or credentials")
	}
	s.End()
	return c
}

// place is the address of a registry.
func (s *section) place(key string) *url.URL {
	t := s.Text(key)
	if t == "" {
		return nil
	}
	u := parsePlace(t)
	if u == nil {
		s.Bad(s.Sub(key), "want https://HOST[:PORT][/REPOSITORY]")
	}
	return u
}

// parsePlace is nil for what is no address of a registry.
func parsePlace(t string) *url.URL {
	u, err := url.Parse(t)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil
	}
	if u.Path = strings.Trim(u.Path, "/"); u.Path != "" && !reference.ValidRepository(u.Path) {
		return nil
	}
	return u
}
