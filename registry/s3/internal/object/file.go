package object

import (
	"bufio"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/camada/camada/errdefs"
)

// profile is what the files have of one.
type profile struct {
	k Credentials
	// role is to be assumed for the token in a file.
	role, session, tokenFile string
	region                   string
	// other is a key by which it would get credentials in a way that is not supported.
	other string
}

// files are the two files that have profiles.
type files struct {
	// credentials goes before config.
	credentials, config *file
	// name of the profile, and whether somebody asked for it.
	name  string
	named bool
}

func newFiles(getenv func(string) string) *files {
	path := func(variable, name string) string {
		if p := getenv(variable); p != "" {
			return p
		}
		return filepath.Join(getenv("HOME"), ".aws", name)
	}
	f := &files{name: getenv("AWS_PROFILE")}
	f.named = f.name != ""
	if !f.named {
		f.name = "default"
	}
	f.credentials = &file{path: path("AWS_SHARED_CREDENTIALS_FILE", "credentials"), section: f.name}
	f.config = &file{path: path("AWS_CONFIG_FILE", "config"), section: "profile " + f.name}
	if f.name == "default" {
		f.config.section = f.name
	}
	return f
}

// profile is what both files have; nothing when there are none.
func (f *files) profile() (profile, error) {
	p, err := f.credentials.get()
	if err != nil {
		return profile{}, err
	}
	c, err := f.config.get()
	if err != nil {
		return profile{}, err
	}
	for _, pair := range []struct{ to, from *string }{
		{&p.role, &c.role}, {&p.session, &c.session}, {&p.tokenFile, &c.tokenFile}, {&p.region, &c.region}, {&p.other, &c.other},
	} {
		if *pair.to == "" {
			*pair.to = *pair.from
		}
	}
	if p.k.ID == "" {
		p.k = c.k
	}
	return p, nil
}

// file is one of them.
type file struct {
	path, section string

	mu      sync.Mutex
	read    time.Time
	changed time.Time
	p       profile
}

// look is how often the file is looked at.
const look = 5 * time.Second

// get returns what the file says; nothing when it is not there.
func (f *file) get() (profile, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.read) < look {
		return f.p, nil
	}
	st, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		f.p, f.read, f.changed = profile{}, time.Now(), time.Time{}
		return f.p, nil
	}
	if err == nil && st.ModTime().Equal(f.changed) {
		f.read = time.Now()
		return f.p, nil
	}
	p, err := readProfile(f.path, f.section)
	if err != nil {
		return profile{}, err
	}
	f.p, f.read, f.changed = p, time.Now(), time.Time{}
	if st != nil {
		f.changed = st.ModTime()
	}
	return p, nil
}

// maxCredentials bounds what is read as credentials.
const maxCredentials = 1 << 20

func readProfile(path, section string) (profile, error) {
	data, err := os.ReadFile(path)
	switch {
	case err != nil:
		return profile{}, errdefs.Permission("read credentials: %w", err)
	case len(data) > maxCredentials:
		return profile{}, errdefs.Limit("%s has more than %d bytes", path, maxCredentials)
	}
	return parseProfile(data, section), nil
}

// parseProfile finds a section in a file of profiles.
func parseProfile(data []byte, section string) profile {
	var p profile
	in := false
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			in = strings.Join(strings.Fields(line[1:len(line)-1]), " ") == section
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !in || !ok || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		value = strings.TrimSpace(value)
		switch name := strings.ToLower(strings.TrimSpace(name)); name {
		case "aws_access_key_id":
			p.k.ID = value
		case "aws_secret_access_key":
			p.k.Secret = value
		case "aws_session_token":
			p.k.Token = value
		case "role_arn":
			p.role = value
		case "role_session_name":
			p.session = value
		case "web_identity_token_file":
			p.tokenFile = value
		case "region":
			p.region = value
		case "source_profile", "credential_source", "credential_process", "sso_session", "sso_start_url":
			p.other = name
		}
	}
	return p
}
