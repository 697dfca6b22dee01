package object

import (
	"context"
	"strings"
	"sync"

	"github.com/camada/camada/errdefs"
)

// Credentials sign requests.
type Credentials struct {
	ID, Secret string
	// Token belongs to credentials that end; "" otherwise.
	Token string
}

// String hides the secrets from whoever prints.
func (Credentials) String() string { return "(credentials)" }

// GoString hides them, too.
func (Credentials) GoString() string { return "(credentials)" }

// Source gives credentials, each time that some are needed.
type Source interface {
	Get(ctx context.Context) (Credentials, error)
}

// Static are credentials that never change.
type Static Credentials

// Get returns them.
func (s Static) Get(context.Context) (Credentials, error) { return Credentials(s), nil }

// FromEnvironment takes credentials from where Amazon's tools look for them, in their order:
//
//   - AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN;
//   - the role AWS_ROLE_ARN for the token in AWS_WEB_IDENTITY_TOKEN_FILE, as Kubernetes has it;
//   - the profile AWS_PROFILE of AWS_SHARED_CREDENTIALS_FILE (~/.aws/credentials) and AWS_CONFIG_FILE (~/.aws/config): keys, or a role for a token;
//   - the service that AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or AWS_CONTAINER_CREDENTIALS_FULL_URI names;
//   - the metadata service of the machine, unless AWS_EC2_METADATA_DISABLED is true.
//
// Files are read again when they have changed, and what ends is renewed before.
func FromEnvironment(getenv func(string) string) Source {
	if id := getenv("AWS_ACCESS_KEY_ID"); id != "" {
		return Static{ID: id, Secret: getenv("AWS_SECRET_ACCESS_KEY"), Token: getenv("AWS_SESSION_TOKEN")}
	}
	if role, token := getenv("AWS_ROLE_ARN"), getenv("AWS_WEB_IDENTITY_TOKEN_FILE"); role != "" && token != "" {
		return &renewed{fetch: newIdentity(getenv, Region(getenv), role, getenv("AWS_ROLE_SESSION_NAME"), token).fetch}
	}
	return &chain{files: newFiles(getenv), getenv: getenv}
}

// Region is the one that the environment names; "" for none.
func Region(getenv func(string) string) string {
	if r := getenv("AWS_REGION"); r != "" {
		return r
	}
	return getenv("AWS_DEFAULT_REGION")
}

// chain looks into the files, and then asks the services.
type chain struct {
	files  *files
	getenv func(string) string

	mu sync.Mutex
	// service gives credentials when the files have none; identity those of a role that the files name.
	service, identity *renewed
	role              profile
}

// Get returns the first credentials that there are.
func (c *chain) Get(ctx context.Context) (Credentials, error) {
	p, err := c.files.profile()
	if err != nil {
		return Credentials{}, err
	}
	switch {
	case p.k.ID != "" && p.k.Secret != "":
		return p.k, nil
	case p.role != "" && p.tokenFile != "":
		return c.assumed(p).Get(ctx)
	case p.other != "":
		return Credentials{}, errdefs.Unsupported("the profile %q has %s, which is not supported: give it keys, or role_arn and web_identity_token_file", c.files.name, p.other)
	case c.files.named:
		return Credentials{}, errdefs.Permission("neither %s nor %s has the profile %q with aws_access_key_id and aws_secret_access_key", c.files.credentials.path, c.files.config.path, c.files.name)
	}
	s, err := c.services()
	if err != nil {
		return Credentials{}, err
	}
	k, err := s.Get(ctx)
	if err != nil && k.ID == "" {
		err = errdefs.Permission("no credentials for the object store: AWS_ACCESS_KEY_ID is not set, %s has none, and %v", c.files.credentials.path, err)
	}
	return k, err
}

// assumed are the credentials of a role that a profile names.
func (c *chain) assumed(p profile) *renewed {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.identity == nil || c.role != p {
		region := Region(c.getenv)
		if region == "" {
			region = p.region
		}
		c.role, c.identity = p, &renewed{fetch: newIdentity(c.getenv, region, p.role, p.session, p.tokenFile).fetch}
	}
	return c.identity
}

// services is who gives credentials when no file does.
func (c *chain) services() (*renewed, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.service != nil {
		return c.service, nil
	}
	in, err := newContainer(c.getenv)
	switch {
	case err != nil:
		return nil, err
	case in != nil:
		c.service = &renewed{fetch: in.fetch}
	case strings.EqualFold(c.getenv("AWS_EC2_METADATA_DISABLED"), "true"):
		return nil, errdefs.Permission("no credentials for the object store: AWS_ACCESS_KEY_ID is not set, %s has none, and no service gives any", c.files.credentials.path)
	default:
		c.service = &renewed{fetch: newMachine(c.getenv).fetch}
	}
	return c.service, nil
}
