// Package platform names operating systems and processor architectures as the
// OCI image-spec (image-index.md) and Docker do, and matches images to them.
//
//	p, err := platform.Parse("linux/arm64")
//	platform.Match(platform.Host(), p)
package platform

import (
	"runtime"
	"strings"

	"github.com/camada/camada/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Host is the platform that this program runs on.
func Host() ocispec.Platform {
	return Normalize(ocispec.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH})
}

// Parse reads os/architecture[/variant], architecture[/variant] or os, in any of the
// spellings that are in use (x86_64, aarch64, armhf ...). What is missing is the host's.
func Parse(s string) (ocispec.Platform, error) {
	parts := strings.Split(strings.ToLower(s), "/")
	for _, p := range parts {
		if p == "" || strings.Trim(p, "abcdefghijklmnopqrstuvwxyz0123456789_.-") != "" {
			return ocispec.Platform{}, errdefs.Invalid("platform %q: want os/architecture[/variant], such as linux/arm64", s)
		}
	}
	host := Host()
	p := ocispec.Platform{OS: host.OS}
	switch len(parts) {
	case 1:
		if isOS(parts[0]) {
			p.OS, p.Architecture, p.Variant = parts[0], host.Architecture, host.Variant
		} else {
			p.Architecture = parts[0]
		}
	case 2:
		if isOS(parts[0]) {
			p.OS, p.Architecture = parts[0], parts[1]
		} else {
			p.Architecture, p.Variant = parts[0], parts[1]
		}
	case 3:
		p.OS, p.Architecture, p.Variant = parts[0], parts[1], parts[2]
	default:
		return ocispec.Platform{}, errdefs.Invalid("platform %q: want os/architecture[/variant], such as linux/arm64", s)
	}
	p = Normalize(p)
	if !isOS(p.OS) || !isArch(p.Architecture) {
		return ocispec.Platform{}, errdefs.Invalid("platform %q: not a known operating system and architecture", s)
	}
	return p, nil
}

// Normalize returns p with the specification's spellings and without the
// variants that are an architecture's default (amd64 v1, arm64 v8).
func Normalize(p ocispec.Platform) ocispec.Platform {
	p.OS = strings.ToLower(p.OS)
	if p.OS == "macos" {
		p.OS = "darwin"
	}
	a, v := strings.ToLower(p.Architecture), strings.ToLower(p.Variant)
	switch a {
	case "x86_64", "x86-64", "amd64":
		a = "amd64"
		if v == "v1" {
			v = ""
		}
	case "i386", "i486", "i586", "i686", "386":
		a, v = "386", ""
	case "aarch64", "arm64":
		a = "arm64"
		if v == "8" || v == "v8" {
			v = ""
		}
	case "armhf":
		a, v = "arm", "v7"
	case "armel":
		a, v = "arm", "v6"
	case "arm":
		switch v {
		case "", "7":
			v = "v7"
		case "5", "6", "8":
			v = "v" + v
		}
	}
	p.Architecture, p.Variant = a, v
	return p
}

// Format returns os/architecture[/variant].
func Format(p ocispec.Platform) string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// Match reports whether an image for have can be used where want is asked
// for: the same system and architecture, and for arm a variant not above the wanted one.
func Match(want, have ocispec.Platform) bool {
	want, have = Normalize(want), Normalize(have)
	if want.OS != have.OS || want.Architecture != have.Architecture {
		return false
	}
	if want.Variant == have.Variant || have.Variant == "" {
		return true
	}
	return want.Architecture == "arm" && have.Variant <= want.Variant
}

func isOS(s string) bool {
	switch s {
	case "linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "solaris", "illumos", "aix", "android", "dragonfly", "ios", "js", "plan9", "wasip1", "macos":
		return true
	}
	return false
}

func isArch(s string) bool {
	switch s {
	case "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64", "s390x", "wasm":
		return true
	}
	return false
}
