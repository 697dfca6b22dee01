package secret

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"
	"time"
)

func random() source { return source{rand.New(rand.NewPCG(1, 2))} }

// TestRules compiles all rules: they are else only when they are needed.
func TestRules(t *testing.T) {
	s := scanner(t)
	for _, r := range s.rules {
		if err := r.compile(); err != nil {
			t.Error(err)
		}
		if r.Regex != "" && len(r.Keywords) == 0 {
			t.Errorf("%s has no keywords, and is never tried", r.ID)
		}
	}
	if n := len(s.Rules()); n < 220 {
		t.Errorf("%d rules", n)
	}
}

// TestPlaces puts a secret at all kinds of places of streams that are larger than what is searched at a time.
func TestPlaces(t *testing.T) {
	s, r := scanner(t), random()
	token := r.signed("ghp" + "_")
	for name, before := range map[string]string{
		"first":              "",
		"lines":              strings.Repeat("some words\n", 100000),
		"one line":           strings.Repeat("some words ", 100000),
		"end of a block":     strings.Repeat(" ", block+2*maxReach-10),
		"across the overlap": strings.Repeat(" ", block+maxReach-20),
		"binary":             "\x7fELF\x00" + strings.Repeat("\x00\x01 words", 50000) + " ",
	} {
		for _, after := range []string{"", "\n", "\" more"} {
			text := before + token + after
			for kind, in := range map[string]io.Reader{"whole": strings.NewReader(text), "in pieces": iotest.OneByteReader(strings.NewReader(text))} {
				if kind == "in pieces" && len(text) > 1<<19 {
					continue
				}
				res, err := s.Scan(t.Context(), in, "a/file")
				if err != nil || len(res.Findings) != 1 {
					t.Fatalf("%s, %s: %v, %v", name, kind, res, err)
				}
				f := res.Findings[0]
				line := strings.Count(before, "\n") + 1
				column := len(before) - strings.LastIndex(before, "\n")
				if f.Rule != "github-pat" || f.Line != line || f.Column != column || f.Path != "a/file" || !f.Checked || f.Secret != "ghp_****" {
					t.Errorf("%s: %+v, want line %d, column %d", name, f, line, column)
				}
			}
		}
	}
}

// TestNothingTells looks for the secrets of the corpus in everything that is said of them.
func TestNothingTells(t *testing.T) {
	s := scanner(t)
	secrets, _ := corpus()
	for _, it := range secrets {
		f := s.open(it.path)
		if err := f.read(t.Context(), strings.NewReader(it.text)); err != nil {
			t.Fatal(err)
		}
		for _, x := range f.result(MaxFindings).Findings {
			for _, m := range f.settled() {
				hides(t, it.kind, m.secret, x.Secret+x.Fingerprint+x.Description+x.Rule)
			}
		}
		masked := s.Mask(it.text)
		for _, m := range f.settled() {
			if strings.Contains(it.path, "pgpass") || m.rule.Path != "" {
				continue // these rules need the name of the file
			}
			hides(t, it.kind, m.secret, masked)
		}
	}
}

func hides(t *testing.T, kind, secret, said string) {
	t.Helper()
	for i := 0; i+8 <= len(secret); i += 4 {
		if part := secret[i : i+8]; i >= 12 && strings.Contains(said, part) || i == 0 && len(secret) <= 8 && strings.Contains(said, secret) {
			t.Fatalf("%s: %d bytes of a secret are told", kind, len(part))
		}
	}
}

func TestMask(t *testing.T) {
	s, r := scanner(t), random()
	token := r.signed("gho" + "_")
	for _, c := range [][2]string{
		{"plain text", "plain text"},
		{"RUN fetch --with " + token + " && make", "RUN fetch --with gho_**** && make"},
		{token + " " + token, "gho_**** gho_****"},
		{"API_KEY=" + r.of(alnum, 32), "API_KEY=****"},
		{"postgres://app:gl" + "pat-Ab3dE9fGh1JkLm5nOpQr-Zx7kQ9vB2mW4@db.internal/x", "postgres://app:glpat-****@db.internal/x"}, // a token, and a password that begins with it
	} {
		if got := s.Mask(c[0]); got != c[1] {
			t.Errorf("Mask: %q", got)
		}
	}
	var alike strings.Builder
	for range maxDenied + 2 {
		alike.WriteString("gho_000000000000000000000000000000000000\n")
	}
	if got := s.Mask(alike.String() + token); strings.Contains(got, token) {
		t.Error("a secret behind much that looks like one is told")
	}
	var many strings.Builder
	for range MaxFindings + 2 {
		many.WriteString(r.signed("gho"+"_") + "\n")
	}
	if got := s.Mask(many.String()); strings.Contains(got, "gho") {
		t.Error("more secrets than are counted are told")
	}
}

func TestFingerprint(t *testing.T) {
	r := random()
	a, b := r.signed("ghp"+"_"), r.signed("ghp"+"_")
	one, two := scanner(t).Text(a+" "+b+" "+a, ""), scanner(t).Text("x "+b, "other")
	if len(one.Findings) != 3 || len(two.Findings) != 1 {
		t.Fatal(one, two)
	}
	if f := one.Findings; f[0].Fingerprint != f[2].Fingerprint || f[0].Fingerprint == f[1].Fingerprint || f[1].Fingerprint != two.Findings[0].Fingerprint || len(f[0].Fingerprint) != 20 {
		t.Error(one, two)
	}
}

func TestLimits(t *testing.T) {
	s, r := scanner(t), random()
	var b strings.Builder
	for range MaxFindings + 10 {
		b.WriteString(r.signed("ghp"+"_") + "\n")
	}
	if res := s.Text(b.String(), "many"); len(res.Findings) != MaxFindings || !res.More {
		t.Errorf("%d findings, more: %v", len(res.Findings), res.More)
	}
	if res := s.Text(strings.Repeat("ghp"+"_"+r.of(alnum, 36)+"\n", maxDenied+10), "decoys"); !res.More {
		t.Error("decoys hide that the search was ended")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Scan(ctx, strings.NewReader("x"), "f"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	token := r.signed("ghp" + "_")
	_, err := s.Scan(t.Context(), iotest.ErrReader(io.ErrClosedPipe), "dir/"+token)
	if !errors.Is(err, io.ErrClosedPipe) || strings.Contains(err.Error(), token) {
		t.Error(err)
	}
}

func TestTree(t *testing.T) {
	s, r := scanner(t), random()
	token := r.signed("ghp" + "_")
	fsys := fstest.MapFS{
		"b/conf":     {Data: []byte("x\ntoken = " + token)},
		"a":          {Data: []byte(token)},
		"link":       {Data: []byte(token), Mode: fs.ModeSymlink},
		"key/id.p12": {Data: []byte("binary")},
	}
	sum, err := s.Tree(t.Context(), fsys)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range sum.Findings {
		got = append(got, f.Path)
	}
	if strings.Join(got, " ") != "a b/conf key/id.p12" || sum.Files != 3 || sum.Findings[2].Line != 0 || sum.Findings[1].Line != 2 {
		t.Errorf("%+v", sum)
	}
}

// TestSummaryCut wants to be told that of what was found, or could not be looked into, not all is told.
func TestSummaryCut(t *testing.T) {
	for name, res := range map[string]Result{"findings": {Findings: make([]Finding, MaxFindings)}, "archives": {Closed: make([]string, MaxFindings)}} {
		var sum Summary
		for range MaxTotal / MaxFindings {
			sum.add("x", 1, res)
		}
		if sum.Cut {
			t.Errorf("%s: cut where all have room", name)
		}
		sum.add("x", 1, res)
		if n := len(sum.Findings) + len(sum.Closed); !sum.Cut || n != MaxTotal {
			t.Errorf("%s: %d are told, and cut is %v", name, n, sum.Cut)
		}
	}
}

func TestTar(t *testing.T) {
	s, r := scanner(t), random()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{{Name: "./etc/a"}, {Name: "/../b"}, {Name: "dir/", Typeflag: tar.TypeDir}, {Name: "l", Typeflag: tar.TypeSymlink, Linkname: "etc/a"}} {
		data := []byte(r.signed("ghp"+"_") + "\n")
		if h.Typeflag != 0 {
			data = nil
		}
		h.Size, h.Mode = int64(len(data)), 0o644
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	sum, err := s.Tar(t.Context(), bytes.NewReader(b.Bytes()))
	if err != nil || len(sum.Findings) != 2 || sum.Files != 2 || sum.Findings[1].Path != "etc/a" {
		t.Errorf("%+v, %v", sum, err)
	}
	if _, err := s.Tar(t.Context(), bytes.NewReader(b.Bytes()[:530])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a tar that was cut: %v", err)
	}
}

func TestAllow(t *testing.T) {
	list, err := ParseAllow([]byte("# comment\n\n0123456789abcdef0123 never known\nrule:jwt,path:/etc/** 2026-05-01 until the new one is there\npath:* never those at the top\n"))
	if err != nil || len(list) != 3 || list[1].Line != 4 || list[1].Reason != "until the new one is there" {
		t.Fatal(list, err)
	}
	day := func(s string) time.Time {
		d, err := time.Parse(time.DateOnly, s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if list[0].Expired(day("2099-01-01")) || list[1].Expired(day("2026-04-30")) || !list[1].Expired(day("2026-05-01")) {
		t.Error("the days are wrong")
	}
	for _, c := range []struct {
		n    int
		f    Finding
		want bool
	}{
		{0, Finding{Fingerprint: "0123456789abcdef0123", Rule: "x"}, true}, {0, Finding{Fingerprint: "1123456789abcdef0123"}, false},
		{1, Finding{Rule: "jwt", Path: "etc/a/b"}, true}, {1, Finding{Rule: "jwt", Path: "etcetera"}, false}, {1, Finding{Rule: "pat", Path: "etc/a"}, false},
		{2, Finding{Rule: "jwt", Path: "a"}, true}, {2, Finding{Rule: "jwt"}, false},
	} {
		if list[c.n].Covers(&c.f) != c.want {
			t.Errorf("%+v covers %+v: %v", list[c.n], c.f, !c.want)
		}
	}
	for _, bad := range []string{"0123456789abcdef0123 never", "0123456789abcdef0123", "rule:jwt never all", "xyz never x", "path:[ never x", "path:a 2026-13-01 x", strings.Repeat("#", maxAllow+1)} {
		if _, err := ParseAllow([]byte(bad)); err == nil {
			t.Errorf("%.40q is accepted", bad)
		}
	}
}

// FuzzScan wants no panic, places that are in the text, and the same whatever pieces the text comes in.
func FuzzScan(f *testing.F) {
	secrets, likes := corpus()
	for i := 0; i < len(secrets); i += 7 {
		f.Add(secrets[i].path, secrets[i].text)
	}
	for i := 0; i < len(likes); i += 70 {
		f.Add(likes[i].path, likes[i].text)
	}
	s, err := New()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path, text string) {
		if len(text) > 1<<16 {
			return
		}
		res := s.Text(text, path)
		again, err := s.Scan(t.Context(), iotest.HalfReader(strings.NewReader(text)), path)
		if err != nil || len(again.Findings) != len(res.Findings) {
			t.Fatalf("%d and %d findings, %v", len(res.Findings), len(again.Findings), err)
		}
		lines := strings.Split(text, "\n")
		for _, x := range res.Findings {
			if x.Line > len(lines) || x.Line > 0 && x.Column > len(lines[x.Line-1])+1 {
				t.Fatalf("%d:%d is not in the text", x.Line, x.Column)
			}
		}
		s.Mask(text)
	})
}

func FuzzParseAllow(f *testing.F) {
	f.Add([]byte("0123456789abcdef0123 never known\nrule:jwt,path:etc/** 2026-05-01 reason"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := ParseAllow(data)
		if err != nil {
			return
		}
		for _, a := range list {
			if a.Reason == "" || a.Fingerprint == "" && a.Path == "" {
				t.Fatalf("%+v", a)
			}
		}
	})
}
