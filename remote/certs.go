package remote

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/camada/camada/errdefs"
)

// maxCert bounds a file of certificates in bytes.
const maxCert = 4 << 20

// certificates reads what certs.d has for a host; nil when nothing. A *.crt is an authority
// besides the system's; a *.cert is a certificate of ours, and its key is in the *.key of the same name.
func certificates(dirs []string, host string) (*tls.Config, error) {
	var conf *tls.Config
	for _, dir := range dirs {
		dir = filepath.Join(dir, host)
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read certificates for %s: %w", host, err)
		}
		for _, e := range entries {
			if conf == nil {
				conf = &tls.Config{MinVersion: tls.VersionTLS12}
			}
			if err := addCertificate(conf, filepath.Join(dir, e.Name())); err != nil {
				return nil, fmt.Errorf("certificates for %s: %w", host, err)
			}
		}
	}
	return conf, nil
}

// siteCertificates adds what is configured for a site.
func siteCertificates(conf *tls.Config, s Site) (*tls.Config, error) {
	if conf == nil && len(s.Authorities)+len(s.Clients) > 0 {
		conf = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	for _, path := range s.Authorities {
		if err := addAuthority(conf, path); err != nil {
			return nil, fmt.Errorf("certificates for %s: %w", s.Name, err)
		}
	}
	for _, pair := range s.Clients {
		key := pair.Key
		if key == "" {
			key = pair.Certificate
		}
		if err := addKeyPair(conf, pair.Certificate, key); err != nil {
			return nil, fmt.Errorf("certificates for %s: %w", s.Name, err)
		}
	}
	return conf, nil
}

func addCertificate(conf *tls.Config, path string) error {
	switch filepath.Ext(path) {
	case ".crt":
		return addAuthority(conf, path)
	case ".cert":
		return addKeyPair(conf, path, strings.TrimSuffix(path, ".cert")+".key")
	}
	return nil
}

func addAuthority(conf *tls.Config, path string) error {
	pem, err := readSmall(path)
	if err != nil {
		return err
	}
	if conf.RootCAs == nil {
		if conf.RootCAs, err = x509.SystemCertPool(); err != nil {
			conf.RootCAs = x509.NewCertPool()
		}
	}
	if !conf.RootCAs.AppendCertsFromPEM(pem) {
		return errdefs.Invalid("%s has no certificate in PEM form", path)
	}
	return nil
}

func addKeyPair(conf *tls.Config, certFile, keyFile string) error {
	cert, err := readSmall(certFile)
	if err != nil {
		return err
	}
	key, err := readSmall(keyFile)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return errdefs.Invalid("%s: %w", certFile, err)
	}
	conf.Certificates = append(conf.Certificates, pair)
	return nil
}

func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxCert || !info.Mode().IsRegular() {
		return nil, errdefs.Invalid("%s is not a file of at most %d bytes", path, maxCert)
	}
	return os.ReadFile(path)
}
