package engine

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// certificates is a certificate in files that may be replaced while it is in use.
type certificates struct {
	cert, key string

	mu     sync.Mutex
	looked time.Time
	states [2]certState
	now    *tls.Certificate
}

type certState struct {
	size int64
	time time.Time
}

// certRecheck is how often the files are looked at.
const certRecheck = time.Second

// newCertificates reads the files.
func newCertificates(cert, key string) (*certificates, error) {
	c := &certificates{cert: cert, key: key}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	return c, nil
}

// load reads the files when one of them changed. Both are replaced one after the other: a pair that does not fit is tried again.
func (c *certificates) load() error {
	c.looked = time.Now()
	var states [2]certState
	for i, name := range []string{c.cert, c.key} {
		fi, err := os.Stat(name)
		if err != nil {
			return err
		}
		states[i] = certState{fi.Size(), fi.ModTime()}
	}
	if c.now != nil && states == c.states {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return err
	}
	c.now, c.states = &pair, states
	return nil
}

// get returns the certificate of now. While the files cannot be read it is the last one that could.
func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) > certRecheck {
		_ = c.load()
	}
	return c.now, nil
}
