package object

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
)

// granting answers with credentials, each time with others, that end after a time.
func granting(t *testing.T, lasts time.Duration, check func(*http.Request) (role string, ok bool)) (address string, given *atomic.Int64, down *atomic.Bool) {
	t.Helper()
	given, down = new(atomic.Int64), new(atomic.Bool)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		text, ok := check(r)
		switch {
		case !ok:
			http.Error(w, "no", http.StatusForbidden)
		case text != "":
			fmt.Fprintln(w, text)
		default:
			n := given.Add(1)
			err := json.NewEncoder(w).Encode(map[string]any{"Code": "Success", "AccessKeyId": fmt.Sprint("id", n), "SecretAccessKey": "hush", "Token": fmt.Sprint("token", n), "Expiration": time.Now().Add(lasts).UTC()})
			if err != nil {
				t.Error(err)
			}
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, given, down
}

// environment makes a source of some variables.
func environment(t *testing.T, pairs ...string) Source {
	t.Helper()
	env := map[string]string{"HOME": t.TempDir(), "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1"}
	for i := 0; i < len(pairs); i += 2 {
		env[pairs[i]] = pairs[i+1]
	}
	return FromEnvironment(func(k string) string { return env[k] })
}

func wantID(t *testing.T, s Source, id string) {
	t.Helper()
	if k, err := s.Get(t.Context()); err != nil || k.ID != id {
		t.Errorf("credentials %q, %v, want %q", k.ID, err, id)
	}
}

func file1(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestMachine: the metadata service of a machine, whose credentials are renewed before they end, and count to their end when it is away.
func TestMachine(t *testing.T) {
	address, given, down := granting(t, 2*time.Second, func(r *http.Request) (string, bool) {
		switch {
		case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" && r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds") != "":
			return "session", true
		case r.Header.Get("X-Aws-Ec2-Metadata-Token") != "session":
			return "", false
		case r.URL.Path == "/latest/meta-data/iam/security-credentials/":
			return "a-role", true
		}
		return "", r.URL.Path == "/latest/meta-data/iam/security-credentials/a-role"
	})
	s := environment(t, "AWS_EC2_METADATA_SERVICE_ENDPOINT", address)
	wantID(t, s, "id1")
	wantID(t, s, "id1")
	r := s.(*chain).service
	past := func() { r.next = time.Now() } // as if the time had come
	past()
	wantID(t, s, "id2")
	down.Store(true)
	past()
	wantID(t, s, "id2")
	r.until = time.Now()
	past()
	if k, err := s.Get(t.Context()); err == nil || !errdefs.IsPermission(err) || strings.Contains(err.Error(), "hush") {
		t.Errorf("after their end: %v, %v", k, err)
	}
	down.Store(false)
	wantID(t, s, "id3")
	if given.Load() != 3 {
		t.Errorf("it was asked %d times", given.Load())
	}
	if _, err := environment(t).Get(t.Context()); !errdefs.IsPermission(err) {
		t.Errorf("no machine's service: %v", err)
	}
}

// TestContainer: the service that containers are told of.
func TestContainer(t *testing.T) {
	address, _, _ := granting(t, time.Hour, func(r *http.Request) (string, bool) {
		return "", r.URL.Path == "/creds" && r.Header.Get("Authorization") == "Bearer x"
	})
	wantID(t, environment(t, "AWS_CONTAINER_CREDENTIALS_FULL_URI", address+"/creds", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "Bearer x"), "id1")
	wantID(t, environment(t, "AWS_CONTAINER_CREDENTIALS_FULL_URI", address+"/creds", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file1(t, "Bearer x\n")), "id2")
	for _, env := range [][]string{
		{"AWS_CONTAINER_CREDENTIALS_FULL_URI", address + "/creds"}, // no token
		{"AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://registry.example.org/creds"},
		{"AWS_CONTAINER_CREDENTIALS_FULL_URI", address + "/creds", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "Bearer x\r\nHost: y"},
		{"AWS_CONTAINER_CREDENTIALS_FULL_URI", address + "/creds", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/nowhere"},
	} {
		if k, err := environment(t, env...).Get(t.Context()); err == nil {
			t.Errorf("%q: %v", env, k.ID)
		}
	}
}

// TestIdentity: a role for a token, by the environment and by a profile.
func TestIdentity(t *testing.T) {
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.PostForm.Get("Action") != "AssumeRoleWithWebIdentity" || r.PostForm.Get("RoleArn") != "arn:aws:iam::1:role/r" ||
			r.PostForm.Get("WebIdentityToken") != "a.jwt" || r.PostForm.Get("RoleSessionName") == "" {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, "<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>a.jwt is bad</Message></Error></ErrorResponse>")
			return
		}
		n++
		fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>id%d</AccessKeyId>
<SecretAccessKey>hush</SecretAccessKey><SessionToken>t</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
			n, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer s.Close()
	const role = "arn:aws:iam::1:role/r"
	token := file1(t, "a.jwt\n")
	source := environment(t, "AWS_ENDPOINT_URL_STS", s.URL, "AWS_ROLE_ARN", role, "AWS_WEB_IDENTITY_TOKEN_FILE", token)
	wantID(t, source, "id1")
	wantID(t, source, "id1")
	config := file1(t, "[default]\nregion=x\n[profile p]\nrole_arn = "+role+"\nweb_identity_token_file = "+token+"\n")
	source = environment(t, "AWS_ENDPOINT_URL_STS", s.URL, "AWS_CONFIG_FILE", config, "AWS_PROFILE", "p")
	wantID(t, source, "id2")
	wantID(t, source, "id2")
	_, err := environment(t, "AWS_ENDPOINT_URL_STS", s.URL, "AWS_ROLE_ARN", role, "AWS_WEB_IDENTITY_TOKEN_FILE", file1(t, "other.jwt")).Get(t.Context())
	if !errdefs.IsPermission(err) || !strings.Contains(err.Error(), "InvalidIdentityToken") || strings.Contains(err.Error(), "jwt") {
		t.Errorf("another token: %v", err)
	}
}

// TestProfiles: keys of a profile in both files.
func TestProfiles(t *testing.T) {
	credentials := file1(t, "[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
	config := file1(t, "[default]\naws_access_key_id=x\naws_secret_access_key=y\n[profile  p]\naws_access_key_id=c\naws_secret_access_key=d\n[profile q]\ncredential_process = /bin/false\n")
	wantID(t, environment(t, "AWS_SHARED_CREDENTIALS_FILE", credentials, "AWS_CONFIG_FILE", config), "a")
	wantID(t, environment(t, "AWS_CONFIG_FILE", config), "x")
	wantID(t, environment(t, "AWS_CONFIG_FILE", config, "AWS_PROFILE", "p"), "c")
	if _, err := environment(t, "AWS_CONFIG_FILE", config, "AWS_PROFILE", "q").Get(t.Context()); !errdefs.IsUnsupported(err) || !strings.Contains(err.Error(), "credential_process") {
		t.Errorf("a program that gives credentials: %v", err)
	}
	if _, err := environment(t, "AWS_CONFIG_FILE", config, "AWS_PROFILE", "none").Get(t.Context()); !errdefs.IsPermission(err) {
		t.Errorf("a profile that is not there: %v", err)
	}
}
