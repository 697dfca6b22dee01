package docpage_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/camada/camada/anatomy/manual"
	"github.com/camada/camada/internal/cli/docpage"
)

// hostile is a page all of whose texts are one text.
func hostile(s string) *manual.Page {
	p := &manual.Page{Image: s, About: manual.About{Title: s, Description: s, URL: s, Source: s}, Labels: []manual.Label{{Name: s, Value: s}}, Platforms: []manual.Platform{{Platform: s, Digest: s, Missing: true}}}
	p.Env = []manual.Variable{{Name: s, Default: s, Description: s}}
	p.Ports = []manual.Thing{{Name: s, Description: s}}
	p.Entrypoint = manual.Program{Words: []string{s, s}, Description: s}
	p.Layers = []manual.Layer{{Instruction: s}}
	return p
}

func TestHostile(t *testing.T) {
	for _, s := range []string{
		"<script>alert(1)</script>", "a | b", "`a` ``b", "[x](javascript:alert(1))", "![x](http://y/z.png)", "\"><img src=x onerror=y>", "javascript:alert(1)", "https://x/\"onmouseover=y", "# a", "www.evil.example", "a\\",
	} {
		page := string(docpage.HTML(hostile(s)))
		for _, bad := range []string{"<script", "<img", "onmouseover=y\"", "href=\"javascript"} {
			if strings.Contains(page, bad) {
				t.Errorf("%q: the HTML has %s", s, bad)
			}
		}
		checkTables(t, s, string(docpage.Markdown(hostile(s))))
	}
	if page := string(docpage.HTML(hostile("https://example.com/a?b&c"))); !strings.Contains(page, `<a href="https://example.com/a?b&amp;c" rel`) {
		t.Error("an address is no link")
	}
	if page := string(docpage.Markdown(hostile("https://example.com/a"))); !strings.Contains(page, "<https://example.com/a>") || !strings.Contains(page, `https\://example.com/a`) {
		t.Errorf("addresses in Markdown:\n%s", page)
	}
}

// checkTables looks at each line of a table: it has as many cells as the one above, and no text outside of code has HTML or a link.
func checkTables(t *testing.T, s, page string) {
	t.Helper()
	cells := 0
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "|") {
			cells = 0
			continue
		}
		n := strings.Count(strings.ReplaceAll(strings.ReplaceAll(line, `\\`, ""), `\|`, ""), "|")
		if strings.Contains(line, "`") { // in code a backslash is a backslash, but a bar is still escaped
			n = strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
		}
		if cells != 0 && n != cells {
			t.Errorf("%q: a row has %d cells, not %d: %s", s, n, cells, line)
		}
		cells = n
	}
	for _, bad := range []string{"| <script", "| [x](", "| ![", "| # a", "| www.evil"} {
		if strings.Contains(page, bad) {
			t.Errorf("%q: the Markdown has %s", s, bad)
		}
	}
}

func FuzzPage(f *testing.F) {
	f.Add("a|b`c`<d>")
	f.Add("`` ` `` \\")
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) || strings.ContainsAny(s, "\n\r\x00") {
			return
		}
		page := string(docpage.HTML(hostile(s)))
		if strings.Count(page, "<script") > 0 || strings.Count(page, "<td>") != strings.Count(page, "</td>") || strings.Count(page, "<code>") != strings.Count(page, "</code>") {
			t.Errorf("%q:\n%s", s, page)
		}
		docpage.Markdown(hostile(s))
	})
}
