package secret

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// score counts what a scanner found in the corpus.
type score struct {
	right, missed, wrong int
	misses, wrongs       map[string]int
}

func (s *score) recall() float64    { return float64(s.right) / float64(s.right+s.missed) }
func (s *score) precision() float64 { return float64(s.right) / float64(s.right+s.wrong) }

func (s *score) String() string {
	return fmt.Sprintf("recall %.3f (%d of %d), precision %.3f (%d wrong)", s.recall(), s.right, s.right+s.missed, s.precision(), s.wrong)
}

// judge compares the lines that were found in each item with where the secrets are. A file with wrong findings counts once.
func judge(secrets, likes []item, lines func(kind string, i int) []int) *score {
	s := &score{misses: map[string]int{}, wrongs: map[string]int{}}
	for i, it := range secrets {
		hit, wrong := false, false
		for _, l := range lines("s", i) {
			if l == it.line {
				hit = true
			} else {
				wrong = true
			}
		}
		if hit {
			s.right++
		} else {
			s.missed++
			s.misses[it.kind]++
		}
		if wrong {
			s.wrong++
			s.wrongs[it.kind]++
		}
	}
	for i, it := range likes {
		if len(lines("l", i)) > 0 {
			s.wrong++
			s.wrongs[it.kind]++
		}
	}
	return s
}

func scanner(t testing.TB) *Scanner {
	t.Helper()
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestCorpus states how much is found of what there is, and how much of what is found is right.
func TestCorpus(t *testing.T) {
	secrets, likes := corpus()
	if len(secrets) < 300 || len(likes) < 3000 {
		t.Fatalf("%d secrets and %d look-alikes are too few", len(secrets), len(likes))
	}
	s := scanner(t)
	got := judge(secrets, likes, func(which string, i int) []int {
		it := secrets
		if which == "l" {
			it = likes
		}
		res, err := s.Scan(context.Background(), strings.NewReader(it[i].text), it[i].path)
		if err != nil {
			t.Fatal(err)
		}
		var out []int
		for _, f := range res.Findings {
			out = append(out, f.Line)
		}
		return out
	})
	t.Logf("%d secrets, %d look-alikes: %v", len(secrets), len(likes), got)
	if got.recall() < 0.97 || got.precision() < 0.97 {
		t.Errorf("too little: missed %v, wrong %v", got.misses, got.wrongs)
	} else {
		t.Logf("missed %v, wrong %v", got.misses, got.wrongs)
	}
}

// TestCorpusWithGitleaks gives the same files to gitleaks, to compare with.
func TestCorpusWithGitleaks(t *testing.T) {
	if os.Getenv("CAMADA_TEST_LONG") == "" {
		t.Skip("set CAMADA_TEST_LONG: gitleaks needs half a minute")
	}
	program, err := exec.LookPath("gitleaks")
	if err != nil {
		t.Skip("needs gitleaks: go install github.com/zricethezav/gitleaks/v8@latest")
	}
	secrets, likes := corpus()
	dir := t.TempDir()
	for which, items := range map[string][]item{"s": secrets, "l": likes} {
		for i, it := range items {
			name := filepath.Join(dir, fmt.Sprintf("%s%d", which, i), filepath.FromSlash(it.path))
			if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(it.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	report := filepath.Join(dir, "report")
	cmd := exec.CommandContext(t.Context(), program, "dir", dir, "--report-format", "json", "--report-path", report, "--exit-code", "0", "--no-banner", "--log-level", "error")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("gitleaks: %v: %s", err, out)
	}
	data, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var found []struct {
		File               string
		StartLine, EndLine int
	}
	if err := json.Unmarshal(data, &found); err != nil {
		t.Fatal(err)
	}
	byItem := map[string][]int{}
	lineOf := func(which string) int {
		var i int
		if n, err := fmt.Sscanf(which, "s%d", &i); n != 1 || err != nil {
			return 0
		}
		return secrets[i].line
	}
	for _, f := range found {
		rest, err := filepath.Rel(dir, f.File)
		if err != nil {
			t.Fatal(err)
		}
		which, _, _ := strings.Cut(rest, "/")
		line := f.StartLine
		if want := lineOf(which); f.StartLine <= want && want <= f.EndLine {
			line = want // some of its rules tell of all lines around a secret
		}
		byItem[which] = append(byItem[which], line)
	}
	got := judge(secrets, likes, func(which string, i int) []int { return byItem[fmt.Sprintf("%s%d", which, i)] })
	if got.right == 0 {
		t.Error("gitleaks found nothing")
	}
	t.Logf("gitleaks: %v", got)
	t.Logf("missed %v, wrong %v", got.misses, got.wrongs)
}
