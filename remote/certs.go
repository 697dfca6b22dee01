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

func addCertificate(conf *tls.Config, path string) error {
	switch filepath.Ext(path) {
	case ".crt":
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
	case ".cert":
		cert, err := readSmall(path)
		if err != nil {
			return err
		}
		key, err := readSmall(strings.TrimSuffix(path, ".cert") + ".key")
		if err != nil {
			return err
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return errdefs.Invalid("%s: %w", path, err)
		}
		conf.Certificates = append(conf.Certificates, pair)
	}
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
