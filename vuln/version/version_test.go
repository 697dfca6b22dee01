package version_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/camada/camada/vuln/version"
)

// ordered are chains, by ecosystem: each version is older than the next one; those between = are the same.
var ordered = map[string][]string{
	"Debian:12": {
		"0 < 0.0.1~rc1 < 0.0.1 = 0:0.0.1 = 0.0.1-0 < 0.0.1-0.1 < 0.0.1-1~deb12u1 < 0.0.1-1 < 0.0.1-1+b1 < 0.0.1-1.1 < 0.0.1a-1 < 0.0.1+dfsg-1 < 0.0.2 < 1:0",
		"1.0~~ < 1.0~~a < 1.0~ < 1.0 < 1.0a < 1.0+ < 1.00001 = 1.1 = 1.000000000000000000000000000000001 < 1.2",
		"2.36-9 < 2.36-9+deb12u1 < 2.36-9+deb12u10",
		"1-2-3 < 1-2-4 < 1-3-1",
	},
	"Ubuntu:22.04:LTS": {"1.2-3 < 1.2-3ubuntu0.1 < 1.2-3ubuntu1"},
	"Red Hat": {
		"1.0~rc1 < 1.0 = 1_0 < 1.0^20200101 < 1.0.1 < 1.0.1-1 < 1.0.1-2.el9 < 1.0.1-10.el9 < 1:0.1",
		"5.5p1 < 5.5p2 < 5.5p10", "xyz < xyz.4 < 8", "1.0^ < 1.0^git1 < 1.0^git2 < 1.01 = 1.1 < 1.1^a",
		"1.0a < 1.0.1 < 1.0.2a < 1.0.10",
	},
	"Alpine:v3.18": {
		"1.0_alpha < 1.0_alpha1 < 1.0_beta < 1.0_pre2 < 1.0_rc1 < 1.0_rc1_p1 < 1.0 < 1.0-r1 < 1.0-r10 < 1.0_cvs1 < 1.0_p1 < 1.0a < 1.0b-r2 < 1.0.1 < 1.1 < 1.10 < 2",
		"1.01 < 1.1", "1.2.3 < 1.2.3_git20200101-r0 < 1.2.3_p1",
	},
	"npm": {
		"1.0.0-alpha < 1.0.0-alpha.1 < 1.0.0-alpha.beta < 1.0.0-beta < 1.0.0-beta.2 < 1.0.0-beta.11 < 1.0.0-rc.1 < 1.0.0 = v1.0.0 = 1.0.0+build.5 = 1 < 1.0.1 < 1.2.0 < 1.10.0",
		"1.0.0-1 < 1.0.0-a", "0 < 0.0.0.1 < 99999999999999999999999999.0.0 < 100000000000000000000000000.0.0-x",
	},
	"Go": {
		"v0.0.0-20190101000000-abcdefabcdef < v0.0.0-20200101000000-abcdefabcdef < v0.0.1 < 1.0.0",
		"go1.20.14 < go1.21beta1 < go1.21rc2 = 1.21.0-rc.2 < go1.21rc10 < 1.21.0 = go1.21 < go1.21.1",
	},
	"Pub":   {"1.0.0-pre < 1.0.0-pre+build < 1.0.0 < 1.0.0+1 < 1.0.0+2 < 1.0.0+10"},
	"NuGet": {"1.0.0-alpha = 1.0.0-ALPHA < 1.0.0 = 1.0 = 1.0.0.0 < 1.0.0.1 < 1.0.0.10 < 1.0.1"},
	"PyPI": {
		"bogus < 0.1.dev0 < 0.1a1.dev2 < 0.1a1 = 0.1.alpha1 < 0.1a1.post1 < 0.1b1 < 0.1rc1 = 0.1c1 = 0.1-preview-1 = 0.1.pre.1 < 0.1 = v0.1.0 = 0.1.0.0 < 0.1+ubuntu < 0.1+ubuntu.1 < 0.1+1 < 0.1.post1.dev1 < 0.1.post1 = 0.1-1 = 0.1r1 < 0.2 < 0.10 < 1!0.1",
		"1.0.dev456 < 1.0a1 < 1.0a2.dev456 < 1.0a12.dev456 < 1.0a12 < 1.0b1.dev456 < 1.0b2 < 1.0b2.post345.dev456 < 1.0b2.post345 < 1.0rc1.dev456 < 1.0rc1 < 1.0 < 1.0+abc.5 < 1.0+abc.7 < 1.0+5 < 1.0.post456.dev34 < 1.0.post456 < 1.1.dev1",
	},
	"Maven": {
		"1-alpha-1 < 1-alpha-2 = 1-a2 < 1-beta-1 < 1-milestone-1 = 1m1 < 1-rc1 = 1-cr1 < 1-SNAPSHOT < 1 = 1.0 = 1-ga = 1.0.0-FINAL = 1-release < 1-sp < 1-abc < 1-xyz < 1-1 < 1.1 < 1.2 < 1.10",
		"2.0.0.RC1 < 2.0.0.RELEASE < 2.0.0.SP1 < 2.0.1",
		"31.1-android < 31.1-jre < 32.0.0-android",
	},
	"RubyGems": {
		"1.0.a < 1.0.b2 < 1.0.b10 < 1.0.rc1 < 1.0 = 1 = 1.0.0 < 1.0.0.1 < 1.1 < 1.9 < 1.10", "1.0-java < 1.0",
	},
	"Packagist": {"1.0-foo < 1.0-dev < 1.0-alpha1 = 1.0a1 < 1.0-beta2 < 1.0-RC1 < 1.0 < 1.0.0 = v1.0.0 < 1.0.1 < 1.10"},
	"CRAN":      {"0.1 < 0.1-0 = 0.01.0 < 0.9 < 0.75 < 1.0-1"},
	"Hackage":   {"1.0 < 1.0.0 < 1.0.1 < 1.11"},
}

func TestOrder(t *testing.T) {
	for ecosystem, chains := range ordered {
		compare, ok := version.For(ecosystem)
		if !ok {
			t.Errorf("%s has no order", ecosystem)
			continue
		}
		for _, chain := range chains {
			steps := strings.Split(chain, " < ")
			for i, step := range steps {
				for _, a := range strings.Split(step, " = ") {
					for j, other := range steps {
						for _, b := range strings.Split(other, " = ") {
							if got, want := sign(compare(a, b)), sign(i-j); got != want {
								t.Errorf("%s: %q to %q is %d, want %d", ecosystem, a, b, got, want)
							}
						}
					}
				}
			}
		}
	}
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

func TestUnknownEcosystem(t *testing.T) {
	if _, ok := version.For("Klingon:1"); ok {
		t.Error("an ecosystem that nobody knows has an order")
	}
}

// tricky are Debian versions that are compared with dpkg, each with each.
const tricky = "0 1.0 1.0-1 1.0-1+b1 1.0~rc1-1 1.0~~ 1.0a 1.0+a 1:0.1 1.0-1~bpo1 1.00 10 1.2.3-4-5 1.0-0ubuntu1"

func TestDebianAsDpkg(t *testing.T) {
	dpkg, err := exec.LookPath("dpkg")
	if err != nil {
		t.Skip("no dpkg on PATH")
	}
	compare, _ := version.For("Debian")
	list := strings.Fields(tricky)
	for i, a := range list {
		for _, b := range list[i+1:] {
			c := compare(a, b)
			op := []string{"lt", "eq", "gt"}[sign(c)+1]
			if out, err := exec.CommandContext(t.Context(), dpkg, "--compare-versions", a, op, b).CombinedOutput(); err != nil {
				t.Errorf("we say %s %s %s, dpkg does not: %s", a, op, b, out)
			}
		}
	}
}

func TestPyPIAsPackaging(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 on PATH")
	}
	list := strings.Fields("0.1 0.1.0 1.0.dev1 1.0a1 1.0a1.dev1 1.0a1.post2 1.0a1.post2.dev3 1.0b2 1.0rc1 1.0c2 1.0 1.0+local 1.0+local.2 1.0+3 1.0.post1 1.0-1 1.0.post1.dev2 1!0.5 2024.1 1.10 1.9 v1.0 1.0-ALPHA.3 1.0_beta 1.0.rev7")
	program := "from pip._vendor.packaging.version import Version as V\nl='" + strings.Join(list, " ") + "'.split()\n" +
		"print(' '.join(str((V(a)>V(b))-(V(a)<V(b))) for a in l for b in l))"
	out, err := exec.CommandContext(t.Context(), python, "-c", program).Output()
	if err != nil {
		t.Skipf("python3 has no packaging library: %v", err)
	}
	compare, _ := version.For("PyPI")
	for i, want := range strings.Fields(string(out)) {
		a, b := list[i/len(list)], list[i%len(list)]
		if got := []string{"-1", "0", "1"}[sign(compare(a, b))+1]; got != want {
			t.Errorf("%s to %s is %s, packaging says %s", a, b, got, want)
		}
	}
}

// FuzzCompare looks whether each order answers, whatever the text, and answers the opposite when asked the other way round.
func FuzzCompare(f *testing.F) {
	for _, chains := range ordered {
		for _, chain := range chains {
			words := strings.Fields(chain)
			f.Add(words[0], words[len(words)-1])
		}
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for ecosystem := range ordered {
			compare, _ := version.For(ecosystem)
			if x, y := sign(compare(a, b)), sign(compare(b, a)); x != -y {
				t.Errorf("%s: %q to %q is %d, the other way round %d", ecosystem, a, b, x, y)
			}
			if compare(a, a) != 0 {
				t.Errorf("%s: %q is not itself", ecosystem, a)
			}
		}
	})
}
