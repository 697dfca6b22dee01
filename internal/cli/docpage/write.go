package docpage

import (
	"html"
	"strings"

	"github.com/camada/camada/anatomy/manual"
)

// Markdown writes a page in GitHub's Markdown.
func Markdown(p *manual.Page) []byte {
	d := of(p)
	var b strings.Builder
	b.WriteString("# " + markdownText(d.title) + "\n")
	if d.intro != "" {
		b.WriteString("\n" + markdownText(d.intro) + "\n")
	}
	for _, s := range d.sections {
		if s.title != "" {
			b.WriteString("\n## " + markdownText(s.title) + "\n")
		}
		for _, c := range s.paras {
			b.WriteString("\n" + markdown(c) + "\n")
		}
		if len(s.rows) == 0 {
			continue
		}
		b.WriteString("\n|")
		for _, h := range s.head {
			b.WriteString(" " + markdownText(h) + " |")
		}
		b.WriteString("\n|" + strings.Repeat("---|", len(s.head)) + "\n")
		for _, r := range s.rows {
			b.WriteString("|")
			for _, c := range r {
				b.WriteString(" " + markdown(c) + " |")
			}
			b.WriteString("\n")
		}
	}
	return []byte(b.String())
}

// markdown writes a cell of a table.
func markdown(c cell) string {
	switch {
	case c.text == "":
		return ""
	case c.code:
		return markdownCode(c.text)
	case c.link && isWeb(c.text):
		return "<" + c.text + ">"
	}
	return markdownText(c.text)
}

// markdownText escapes all that means something (CommonMark, section 2.4), and what a browser would take for an address.
func markdownText(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case strings.ContainsRune("\\`*_{}[]<>|#!~&", r):
			b.WriteByte('\\')
		case (r == '-' || r == '+') && strings.TrimSpace(s[:i]) == "":
			b.WriteByte('\\')
		case r == ':' && strings.HasPrefix(s[i:], "://"), r == '@':
			// An address of anybody's shall not become a link by itself.
			b.WriteString("\\")
		case r == '\n' || r == '\r':
			r = ' '
		}
		b.WriteRune(r)
	}
	return strings.ReplaceAll(b.String(), "www.", "www\\.")
}

// markdownCode writes a code span (CommonMark, section 6.1): between more backticks than the text has in a row. In a table a bar is escaped in code, too.
func markdownCode(s string) string {
	longest, run := 0, 0
	for i := range len(s) {
		if run++; s[i] != '`' {
			run = 0
		}
		longest = max(longest, run)
	}
	fence := strings.Repeat("`", longest+1)
	s = strings.NewReplacer("|", "\\|", "\n", " ", "\r", " ").Replace(s)
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") || strings.HasSuffix(s, "\\") || strings.TrimSpace(s) == "" || strings.HasPrefix(s, " ") && strings.HasSuffix(s, " ") {
		s = " " + s + " "
	}
	return fence + s + fence
}

const style = `body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}` +
	`table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}td,th{border:1px solid #ddd;padding:.3rem .6rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}` +
	`th{background:#f4f4f4}code{font:14px/1.4 ui-monospace,monospace;background:#f4f4f4;padding:.1rem .25rem;overflow-wrap:anywhere}` +
	`@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}td,th{border-color:#444}th,code{background:#262626}a{color:#8bf}}`

// HTML writes a page as one file of HTML, which needs no other.
func HTML(p *manual.Page) []byte {
	d := of(p)
	var b strings.Builder
	title := html.EscapeString(d.title)
	b.WriteString("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n" +
		"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n<title>" + title + "</title>\n<style>" + style + "</style>\n</head>\n<body>\n<h1>" + title + "</h1>\n")
	if d.intro != "" {
		b.WriteString("<p>" + html.EscapeString(d.intro) + "</p>\n")
	}
	for _, s := range d.sections {
		if s.title != "" {
			b.WriteString("<h2>" + html.EscapeString(s.title) + "</h2>\n")
		}
		for _, c := range s.paras {
			b.WriteString("<p>" + htmlCell(c) + "</p>\n")
		}
		if len(s.rows) == 0 {
			continue
		}
		b.WriteString("<table>\n")
		if strings.Join(s.head, "") != "" {
			b.WriteString("<thead><tr>")
			for _, h := range s.head {
				b.WriteString("<th>" + html.EscapeString(h) + "</th>")
			}
			b.WriteString("</tr></thead>\n")
		}
		b.WriteString("<tbody>\n")
		for _, r := range s.rows {
			b.WriteString("<tr>")
			for _, c := range r {
				b.WriteString("<td>" + htmlCell(c) + "</td>")
			}
			b.WriteString("</tr>\n")
		}
		b.WriteString("</tbody>\n</table>\n")
	}
	b.WriteString("</body>\n</html>\n")
	return []byte(b.String())
}

func htmlCell(c cell) string {
	text := html.EscapeString(c.text)
	switch {
	case c.code:
		return "<code>" + text + "</code>"
	case c.link && isWeb(c.text):
		return `<a href="` + text + `" rel="nofollow noopener">` + text + "</a>"
	}
	return text
}
