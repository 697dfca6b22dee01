package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

const (
	// maxReach is how long a secret with what is around it can be, in bytes. A private key of 16384 bits has 13 KB.
	maxReach = 16 << 10
	// block is how much is searched at a time.
	block = 256 << 10
	// maxDenied is how many places of a file may look like secrets and be none. Who wants to hide one behind so many gets told: see Result.More.
	maxDenied = 20 * MaxFindings
	// maxLine is how much of a line, before and after a secret, is looked at.
	maxLine = 512
	// dense is how many times a rule may look at the same bytes, on average, because keywords stand side by side; then it looks at stretch bytes more at once, and at none of the keywords in them.
	dense   = 4
	stretch = 4 << 10
)

// match is a secret in the bytes. It never leaves the package.
type match struct {
	rule         *rule
	start, end   int64
	line, column int
	secret       string
	checked      bool
}

// file is the scan of one file.
type file struct {
	s    *Scanner
	path string
	// binary files are not searched with weak rules.
	binary bool
	// packaged is whether the file is of a package manager or another's code, as gitleaks has them: nil when it was not asked for yet.
	packaged *bool
	// names are, for rules that look at the name of a file, whether they look into this one.
	names map[*rule]bool
	buf   []byte
	// base is the place of buf[0], line how many lines ended before it, and lineStart where the last of them did.
	base      int64
	line      int
	lineStart int64
	// tried is how far each rule is.
	tried map[*rule]tried
	// looked is how much the expressions of all rules have looked at, in bytes.
	looked int64
	found  []match
	// denied are places that rules of a kind know to be no secrets.
	denied [][2]int64
}

// tried is how far a rule is in a file.
type tried struct {
	// done is up to where it was tried.
	done int64
	// from and to are where those of its windows begin and end that lie in each other, up to the last one, and looked is how long they are together.
	from, to, looked int64
}

// Scan reads r to its end and finds the secrets in it. name is the path that findings have; some rules look at it, too.
// Errors are those of r and of ctx: what was found is returned with them.
func (s *Scanner) Scan(ctx context.Context, r io.Reader, name string) (Result, error) {
	return s.scan(ctx, r, name, MaxFindings)
}

// scan is Scan, of which so many findings are told. Their fingerprints take time.
func (s *Scanner) scan(ctx context.Context, r io.Reader, name string, most int) (Result, error) {
	f := s.open(name)
	err := f.read(ctx, r)
	if err != nil {
		err = fmt.Errorf("look for secrets in %s: %w", s.Mask(name), err)
	}
	return f.result(most), err
}

// Text finds the secrets of a text.
func (s *Scanner) Text(text, name string) Result {
	f := s.open(name)
	f.read(context.Background(), strings.NewReader(text)) //nolint:errcheck // neither can fail
	return f.result(MaxFindings)
}

func (s *Scanner) open(name string) *file {
	f := &file{s: s, path: name, names: map[*rule]bool{}, tried: map[*rule]tried{}}
	for _, r := range s.byPath {
		if r.compile() == nil && r.path.MatchString(name) {
			f.found = append(f.found, match{rule: r, secret: path.Base(name)})
		}
	}
	return f
}

// read searches block by block. What is near the end of a block is searched again with what follows.
func (f *file) read(ctx context.Context, r io.Reader) error {
	buf, _ := f.s.buffers.Get().(*[]byte)
	if buf == nil {
		b := make([]byte, 2*maxReach+block)
		buf = &b
	}
	defer f.s.buffers.Put(buf)
	n, from := 0, 0 // from is where the search goes on
	for first := true; ; first = false {
		if err := ctx.Err(); err != nil {
			return err
		}
		k, err := fill(r, (*buf)[n:])
		n += k
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return err
		}
		f.buf = (*buf)[:n]
		if first {
			f.binary = bytes.IndexByte(f.buf[:min(n, 8000)], 0) >= 0
		}
		to := n
		if !end {
			to = n - maxReach
		}
		if err := f.block(from, to, end); err != nil || end {
			clear(f.buf) // others get it
			return err
		}
		keep := to - maxReach
		f.line += bytes.Count(f.buf[:keep], []byte{'\n'})
		if i := bytes.LastIndexByte(f.buf[:keep], '\n'); i >= 0 {
			f.lineStart = f.base + int64(i) + 1
		}
		f.base += int64(keep)
		n = copy(*buf, f.buf[keep:])
		from = maxReach
	}
}

// fill reads until buf is full. It is io.ReadFull, but for the end, which is io.EOF always: what was cut off has another error.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for idle := 0; n < len(buf) && err == nil; idle++ {
		var k int
		if k, err = r.Read(buf[n:]); k > 0 {
			n, idle = n+k, 0
		}
		if idle > 100 {
			return n, io.ErrNoProgress
		}
	}
	return n, err
}

// block tries the rules whose keywords end in buf[from:to].
func (f *file) block(from, to int, end bool) error {
	var failed error
	f.s.search.each(f.buf[:to], from, func(word, start, stop int) {
		for _, r := range f.s.search.rules[word] {
			if f.base+int64(start) < f.tried[r].done || r.weak && (f.binary || f.ofPackage()) || len(f.found) > MaxFindings || len(f.denied) > maxDenied {
				continue
			}
			if err := r.compile(); err != nil {
				failed = err
				return
			}
			if r.path != nil && !f.named(r) {
				continue
			}
			f.try(r, f.s.search.words[word], start, stop, end)
		}
	})
	return failed
}

// named reports whether a rule that looks at names looks into this file.
func (f *file) named(r *rule) bool {
	is, ok := f.names[r]
	if !ok {
		is = r.path.MatchString(f.path)
		f.names[r] = is
	}
	return is
}

// ofPackage reports whether weak rules leave the file alone.
func (f *file) ofPackage() bool {
	if f.packaged == nil {
		is := anyOf(f.s.allowed.paths, f.path)
		f.packaged = &is
	}
	return *f.packaged
}

// try looks for a rule's secrets around a keyword.
func (f *file) try(r *rule, word string, start, stop int, end bool) {
	a, b, ok := r.window(f.buf, word, start, stop)
	if !ok {
		return
	}
	t, from := f.tried[r], f.base+int64(a)
	if from >= t.to {
		t.from, t.to, t.looked = from, from, 0
	}
	covered, wide := 0, t.looked > dense*(t.to-t.from)
	if wide {
		covered, b = f.widen(r, start, b, end)
	}
	t.to = max(t.to, f.base+int64(b))
	t.looked += int64(b - a)
	f.looked += int64(b - a)
	cut := b < len(f.buf) || !end
	for _, m := range r.regex.FindAllSubmatchIndex(f.buf[a:b], -1) {
		if cut && a+m[1] == b && (wide || strings.HasSuffix(r.Regex, "|$)") && m[1] == lastGroup(m)) {
			continue // it might go on there
		}
		if whole := f.base + int64(a+m[1]); whole > t.done {
			t.done = whole
			f.judge(r, a, m)
		}
	}
	if wide {
		t.done = max(t.done, f.base+int64(covered))
	}
	f.tried[r] = t
}

// widen is where the window of a keyword at buf[start:] ends in which all matches are that begin before covered. Without it a file of nothing but keywords would be looked at as many times as
// keywords have room in a window.
func (f *file) widen(r *rule, start, narrow int, end bool) (covered, b int) {
	reach := r.beyond()
	covered = start + max(reach, stretch)
	b = max(narrow, covered+reach+1)
	if b < len(f.buf) {
		return covered, b
	}
	if end {
		return len(f.buf), len(f.buf)
	}
	return len(f.buf) - reach - 1, len(f.buf)
}

// lastGroup is where the last group that matched ends.
func lastGroup(m []int) int {
	n := 0
	for g := 3; g < len(m); g += 2 {
		n = max(n, m[g])
	}
	return n
}

// judge looks closer at what an expression matched: m are the indices of its groups in buf[a:].
func (f *file) judge(r *rule, a int, m []int) {
	from, to := m[0], m[1]
	if r.Group > 0 {
		if 2*r.Group+1 < len(m) {
			from, to = m[2*r.Group], m[2*r.Group+1]
		}
	} else {
		for g := 2; g < len(m); g += 2 {
			if m[g] >= 0 && m[g+1] > m[g] {
				from, to = m[g], m[g+1]
				break
			}
		}
	}
	if from < 0 || len(f.found) > MaxFindings {
		return
	}
	c := candidate{rule: r, path: f.path, secret: string(f.buf[a+from : a+to]), match: strings.Trim(string(f.buf[a+m[0]:a+m[1]]), "\n"), before: string(f.buf[a+m[0] : a+from]), line: f.around(a+from, a+to)}
	at := a + from
	ok, checked := f.s.genuine(&c)
	if !ok {
		if !r.guess() {
			f.denied = append(f.denied, [2]int64{f.base + int64(at), f.base + int64(a+to)})
		}
		return
	}
	head := f.buf[:at]
	x := match{rule: r, start: f.base + int64(at), end: f.base + int64(a+to), secret: c.secret, checked: checked, line: f.line + bytes.Count(head, []byte{'\n'}) + 1}
	x.column = int(x.start-f.lineStart) + 1
	if i := bytes.LastIndexByte(head, '\n'); i >= 0 {
		x.column = at - i
	}
	f.found = append(f.found, x)
}

// around is the line of buf[a:b], or what is near of a long one.
func (f *file) around(a, b int) string {
	from, to := max(0, a-maxLine), min(len(f.buf), b+maxLine)
	if i := bytes.LastIndexByte(f.buf[from:a], '\n'); i >= 0 {
		from += i + 1
	}
	if i := bytes.IndexByte(f.buf[b:to], '\n'); i >= 0 {
		to = b + i
	}
	return string(f.buf[from:to])
}

// settled are the matches in order; of those that overlap the best stays.
func (f *file) settled() []match {
	slices.SortStableFunc(f.found, func(a, b match) int {
		switch {
		case a.start != b.start:
			return int(min(max(a.start-b.start, -1), 1))
		default:
			return b.rank() - a.rank()
		}
	})
	var out []match
	for _, m := range f.found {
		if m.rule.guess() && slices.ContainsFunc(f.denied, func(d [2]int64) bool { return m.start < d[1] && d[0] < m.end }) {
			continue
		}
		if n := len(out); n > 0 && m.end > 0 && m.start < out[n-1].end {
			if m.rank() > out[n-1].rank() {
				out[n-1] = m
			}
			continue
		}
		out = append(out, m)
	}
	return out
}

// guess reports whether the rule knows no kind of secrets.
func (r *rule) guess() bool {
	return r.ID == genericRule || r.ID == passwordRule || r.ID == serviceRule
}

// rank tells which of two rules says more of the same bytes.
func (m *match) rank() int {
	n := 0
	switch {
	case m.rule.own:
		n++
	case m.rule.catalog:
		n--
	}
	if m.rule.guess() {
		n -= 4
	}
	if !m.rule.weak {
		n += 2
	}
	if m.checked {
		n += 4
	}
	return n
}

// result tells of the first findings.
func (f *file) result(most int) Result {
	res := Result{More: len(f.denied) > maxDenied}
	for _, m := range f.settled() {
		if len(res.Findings) == most {
			res.More = true
			break
		}
		res.Findings = append(res.Findings, Finding{
			Rule: m.rule.ID, Description: m.rule.Description, Path: f.path, Line: m.line, Column: m.column,
			Secret: m.masked(), Fingerprint: f.s.fingerprint(m.rule.ID, m.secret), Checked: m.checked,
		})
	}
	return res
}
