package object

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
)

// TestSign holds what the documentation of Signature Version 4 gives as its examples ("Examples: Signature Calculations").
func TestSign(t *testing.T) {
	k := Credentials{ID: "AKIAIOSFODNN7EXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	at := time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	req, err := http.NewRequest(http.MethodGet, "https://examplebucket.s3.amazonaws.com/test.txt", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Range", "bytes=0-9")
	sign(req, k, "us-east-1", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", at)
	const want = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
	if got := req.Header.Get("Authorization"); !strings.HasSuffix(got, want) {
		t.Errorf("signed: %s", got)
	}
	got := presign(req.URL, k, "us-east-1", at, 24*time.Hour)
	if !strings.HasSuffix(got, "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404") {
		t.Errorf("presigned: %s", got)
	}
}

func TestCredentials(t *testing.T) {
	env := map[string]string{"HOME": t.TempDir(), "AWS_EC2_METADATA_DISABLED": "true"}
	get := func() (Credentials, error) {
		return FromEnvironment(func(k string) string { return env[k] }).Get(t.Context())
	}
	if _, err := get(); !errdefs.IsPermission(err) {
		t.Errorf("none: %v", err)
	}
	path := filepath.Join(env["HOME"], ".aws", "credentials")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	text := "[default]\naws_access_key_id = a\n# no\naws_secret_access_key=b=c\n[other]\naws_access_key_id=x\naws_secret_access_key=y\naws_session_token=z\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if k, err := get(); err != nil || k != (Credentials{"a", "b=c", ""}) {
		t.Errorf("default: %q, %v", k.ID, err)
	}
	env["AWS_PROFILE"] = "other"
	if k, err := get(); err != nil || k != (Credentials{"x", "y", "z"}) {
		t.Errorf("other: %q, %v", k.ID, err)
	}
	env["AWS_PROFILE"] = "third"
	if _, err := get(); !errdefs.IsPermission(err) || strings.Contains(err.Error(), "b=c") {
		t.Errorf("third: %v", err)
	}
	env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"] = "e", "f"
	if k, err := get(); err != nil || k != (Credentials{"e", "f", ""}) {
		t.Errorf("environment: %q, %v", k.ID, err)
	}
}

// FuzzHead reads what the headers of answers tell.
func FuzzHead(f *testing.F) {
	f.Add("\"a\"", "12", "bytes 0-1/234", "Fri, 31 Dec 1999 23:59:59 GMT")
	f.Add("", "-1", "bytes */9223372036854775807", "x")
	f.Add("a", "99999999999999999999", "/-1", "")
	f.Fuzz(func(t *testing.T, etag, length, part, modified string) {
		info, err := infoOf("k", http.Header{"Etag": {etag}, "Content-Length": {length}, "Last-Modified": {modified}})
		if err == nil && (info.Size < 0 || info.ETag != etag || etag == "" || info.Key != "k") {
			t.Errorf("%+v", info)
		}
		if n, err := wholeSize(part); n < 0 || err != nil && !errdefs.IsCorrupt(err) {
			t.Errorf("%q has %d bytes, %v", part, n, err)
		}
	})
}

func FuzzParseList(f *testing.F) {
	f.Add([]byte(`<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken><Contents><Key>a</Key><LastModified>2020-01-01T00:00:00Z</LastModified><Size>1</Size></Contents><CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes></ListBucketResult>`))
	f.Add([]byte(`<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>a%2</Key><Size>-1</Size></Contents></ListBucketResult>`))
	f.Add([]byte(`<a`))
	f.Add([]byte(`{"Code":"Success","AccessKeyId":"a","SecretAccessKey":"b","Token":"c","Expiration":"2030-01-01T00:00:00Z"}`))
	f.Add([]byte(`<R><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>a</AccessKeyId><SecretAccessKey>b</SecretAccessKey><Expiration>2030-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult></R>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, _, err := parseList(data)
		if err != nil && (!errdefs.IsCorrupt(err) || entries != nil) {
			t.Errorf("%v", err)
		}
		for _, e := range entries {
			if e.Size < 0 {
				t.Errorf("%v", e)
			}
		}
		if err := failure(500, strings.NewReader(string(data))); !errdefs.IsUnavailable(err) {
			t.Errorf("%v", err)
		}
		if p := parseProfile(data, "default"); p != (profile{}) && !strings.Contains(string(data), "default") {
			t.Error("credentials of nobody")
		}
		for _, parse := range []func([]byte) (Credentials, time.Time, error){parseGiven, parseAssumed} {
			if k, _, err := parse(data); err == nil && (k.ID == "" || k.Secret == "") {
				t.Error("credentials that are none")
			}
		}
	})
}
