package object

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

// identity takes credentials for a token that says who this process is (AssumeRoleWithWebIdentity), as Kubernetes gives it to pods.
type identity struct {
	*asker

	endpoint, role, session, tokenFile string
}

// newIdentity makes one for a role and a file with a token, which is read each time.
func newIdentity(getenv func(string) string, region, role, session, tokenFile string) *identity {
	i := &identity{&asker{&http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}, 15 * time.Second}, getenv("AWS_ENDPOINT_URL_STS"), role, session, tokenFile}
	if i.endpoint == "" {
		i.endpoint = "https://sts.amazonaws.com"
		if region != "" {
			i.endpoint = "https://sts." + region + ".amazonaws.com"
		}
	}
	if i.session == "" {
		i.session = "camada"
	}
	return i
}

func (i *identity) fetch(ctx context.Context) (Credentials, time.Time, error) {
	fail := func(err error) (Credentials, time.Time, error) {
		return Credentials{}, time.Time{}, fmt.Errorf("assume the role %s: %w", i.role, err)
	}
	token, err := readToken(i.tokenFile)
	if err != nil {
		return fail(err)
	}
	form := url.Values{
		"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"}, "RoleArn": {i.role}, "RoleSessionName": {i.session}, "WebIdentityToken": {token},
	}
	data, err := i.ask(ctx, http.MethodPost, strings.TrimRight(i.endpoint, "/")+"/", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, strings.NewReader(form.Encode()))
	if err != nil {
		return fail(err)
	}
	k, until, err := parseAssumed(data)
	if err != nil {
		return fail(err)
	}
	return k, until, nil
}

// parseAssumed reads what the service answers.
func parseAssumed(data []byte) (Credentials, time.Time, error) {
	e, err := parseXML(data)
	if err != nil {
		return Credentials{}, time.Time{}, err
	}
	for _, result := range e.All("AssumeRoleWithWebIdentityResult") {
		for _, c := range result.All("Credentials") {
			k := Credentials{ID: c.Get("AccessKeyId"), Secret: c.Get("SecretAccessKey"), Token: c.Get("SessionToken")}
			until, err := time.Parse(time.RFC3339, c.Get("Expiration"))
			if err == nil && k.ID != "" && k.Secret != "" {
				return k, until, nil
			}
		}
	}
	return Credentials{}, time.Time{}, errdefs.Corrupt("the answer has no credentials")
}
