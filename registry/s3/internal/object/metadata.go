package object

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

// machine takes credentials from the metadata service of the virtual machine (IMDSv2).
type machine struct {
	*asker

	endpoint string
}

func newMachine(getenv func(string) string) *machine {
	endpoint := strings.TrimRight(getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT"), "/")
	if endpoint == "" {
		endpoint = "http://169.254.169.254"
	}
	return &machine{near(), endpoint}
}

func (m *machine) fetch(ctx context.Context) (Credentials, time.Time, error) {
	fail := func(err error) (Credentials, time.Time, error) {
		return Credentials{}, time.Time{}, fmt.Errorf("this machine's metadata service: %w", err)
	}
	token, err := m.ask(ctx, http.MethodPut, m.endpoint+"/latest/api/token", http.Header{"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": {"300"}}, nil)
	if err != nil {
		return fail(err)
	}
	header := http.Header{"X-Aws-Ec2-Metadata-Token": {strings.TrimSpace(string(token))}}
	const where = "/latest/meta-data/iam/security-credentials/"
	roles, err := m.ask(ctx, http.MethodGet, m.endpoint+where, header, nil)
	if err != nil {
		return fail(err)
	}
	role, _, _ := strings.Cut(strings.TrimSpace(string(roles)), "\n")
	if role == "" {
		return fail(errdefs.NotFound("the machine has no role"))
	}
	data, err := m.ask(ctx, http.MethodGet, m.endpoint+where+url.PathEscape(strings.TrimSpace(role)), header, nil)
	if err != nil {
		return fail(err)
	}
	k, until, err := parseGiven(data)
	if err != nil {
		return fail(err)
	}
	return k, until, nil
}

// container takes credentials from the service that containers of ECS and EKS are told of.
type container struct {
	*asker

	address string
	// token, or the file that has it, goes along; both may be "".
	token, tokenFile string
}

// newContainer is nil when the environment names none.
func newContainer(getenv func(string) string) (*container, error) {
	c := &container{near(), getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI"), getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN"), getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")}
	if path := getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"); path != "" {
		c.address = "http://169.254.170.2/" + strings.TrimLeft(path, "/")
		return c, nil
	}
	if c.address == "" {
		return nil, nil
	}
	u, err := url.Parse(c.address)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !isNear(u.Hostname())) {
		return nil, errdefs.Invalid("AWS_CONTAINER_CREDENTIALS_FULL_URI: want https, or http to this machine")
	}
	return c, nil
}

// isNear reports whether a host is this machine, or one of the services beside it that Amazon's tools ask without TLS.
func isNear(host string) bool {
	a, err := netip.ParseAddr(host)
	if err != nil {
		return host == "localhost"
	}
	return a.IsLoopback() || a == netip.MustParseAddr("169.254.170.2") || a == netip.MustParseAddr("169.254.170.23") || a == netip.MustParseAddr("fd00:ec2::23")
}

func (c *container) fetch(ctx context.Context) (Credentials, time.Time, error) {
	fail := func(err error) (Credentials, time.Time, error) {
		return Credentials{}, time.Time{}, fmt.Errorf("the service for containers: %w", err)
	}
	token := c.token
	if c.tokenFile != "" {
		var err error
		if token, err = readToken(c.tokenFile); err != nil {
			return fail(err)
		}
	}
	header := make(http.Header, 1)
	if token != "" {
		if strings.ContainsAny(token, "\r\n") {
			return fail(errdefs.Invalid("its token has more than one line"))
		}
		header.Set("Authorization", token)
	}
	data, err := c.ask(ctx, http.MethodGet, c.address, header, nil)
	if err != nil {
		return fail(err)
	}
	k, until, err := parseGiven(data)
	if err != nil {
		return fail(err)
	}
	return k, until, nil
}

// readToken reads a file with a token.
func readToken(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", errdefs.Permission("read the token: %w", err)
	}
	if len(data) > maxCredentials {
		return "", errdefs.Limit("%s has more than %d bytes", path, maxCredentials)
	}
	return strings.TrimSpace(string(data)), nil
}
