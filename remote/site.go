package remote

import (
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// Sites finds where the repositories of a host are asked for: its mirrors, and itself.
type Sites interface {
	// Sites lists the places for host/repository in the order in which they are asked; none is the host itself. repository is "" when it is
	// the host that matters. It may be called by many goroutines.
	Sites(host, repository string) ([]Site, error)
}

// Site is a place where repositories of a host are asked for.
type Site struct {
	// Name is the host (with its port) that credentials and certificates are looked up for, and that errors name.
	Name string
	// Address is host:port that is talked to; "" is that of Name.
	Address string
	// Scheme is https or http; "" is https, and what is found out for insecure ones.
	Scheme string
	// Base is the path of the API, without a slash at its end; nil is /v2.
	Base *string
	// Repository is what the repository is called there.
	Repository string
	// Namespace is the host that is meant, for proxies of many hosts (parameter ns); "" tells none.
	Namespace string
	// Source names the file that says so: sites of different files have connections of their own.
	Source string
	// What may be asked of it: to find out what a tag stands for, to read what has a digest, to write.
	Resolve, Pull, Push bool
	// Insecure does not check certificates, and may speak plain HTTP when Scheme is "".
	Insecure bool
	// Authorities are files of certificates besides the system's. Clients are our certificates with their keys.
	Authorities []string
	Clients     []KeyPair
	// Header is sent along with each request.
	Header http.Header
	// DialTimeout bounds how long a connection may take to be made; 0 is the Client's.
	DialTimeout time.Duration
}

// KeyPair names files in PEM form. Key "" is the file of the certificate.
type KeyPair struct{ Certificate, Key string }

// need is what a request needs of a site.
type need int

const (
	needPull need = iota
	needResolve
	needPush
)

// can reports whether a site may be asked for something.
func (s Site) can(n need) bool {
	switch n {
	case needPush:
		return s.Push
	case needResolve:
		return s.Resolve
	default:
		return s.Pull
	}
}

// needOf is what a call needs: names move, and what has a digest does not.
func needOf(c call, repo string) need {
	if c.method != http.MethodGet && c.method != http.MethodHead {
		return needPush
	}
	path, _, _ := strings.Cut(strings.TrimPrefix(c.path, repo+"/"), "?")
	name, isManifest := strings.CutPrefix(path, "manifests/")
	if strings.HasPrefix(path, "blobs/") || isManifest && digest.Digest(name).Validate() == nil {
		return needPull
	}
	return needResolve
}
