package platform_test

import (
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/platform"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"linux/amd64":    "linux/amd64",
		"linux/x86_64":   "linux/amd64",
		"aarch64":        "linux/arm64",
		"linux/arm64/v8": "linux/arm64",
		"arm/v6":         "linux/arm/v6",
		"linux/arm":      "linux/arm/v7",
		"armhf":          "linux/arm/v7",
		"windows/amd64":  "windows/amd64",
	} {
		p, err := platform.Parse(in)
		if err != nil || platform.Format(p) != want {
			t.Errorf("Parse(%q) = %s, %v; want %s", in, platform.Format(p), err, want)
		}
	}
	for _, in := range []string{"", "/", "linux/", "linux/amd64/v1/x", "linux/vax", "beos/amd64", "linux/amd 64"} {
		if p, err := platform.Parse(in); !errdefs.IsInvalid(err) {
			t.Errorf("Parse(%q) = %v, %v; want an invalid argument", in, p, err)
		}
	}
}

func TestMatch(t *testing.T) {
	arm := func(v string) ocispec.Platform {
		return ocispec.Platform{OS: "linux", Architecture: "arm", Variant: v}
	}
	for _, tc := range []struct {
		want, have ocispec.Platform
		ok         bool
	}{
		{arm("v7"), arm("v6"), true},
		{arm("v6"), arm("v7"), false},
		{arm("v7"), ocispec.Platform{OS: "linux", Architecture: "arm64"}, false},
		{ocispec.Platform{OS: "linux", Architecture: "amd64"}, ocispec.Platform{OS: "linux", Architecture: "x86_64", Variant: "v1"}, true},
		{ocispec.Platform{OS: "linux", Architecture: "amd64"}, ocispec.Platform{OS: "linux", Architecture: "amd64", Variant: "v3"}, false},
	} {
		if got := platform.Match(tc.want, tc.have); got != tc.ok {
			t.Errorf("Match(%s, %s) = %v", platform.Format(tc.want), platform.Format(tc.have), got)
		}
	}
}
