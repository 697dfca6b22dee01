package inventory

import (
	"io"
	"strings"
)

// readApk reads the database of installed packages that apk keeps (apk(8)): paragraphs of lines of a letter, a colon and a
// value. Lines about the files of the package are passed over.
func readApk(d Distribution, r io.Reader) ([]Package, error) {
	var out []Package
	var p Package
	any := false
	err := eachLine(r, func(line []byte) error {
		text := strings.TrimRight(string(line), "\r")
		if text == "" {
			if !any {
				return nil
			}
			done := p
			p, any = Package{}, false
			done.Type, done.SourceVersion = "apk", done.Version
			done.Source = orElse(done.Source, done.Name)
			if err := done.check(); err != nil {
				return err
			}
			done.PURL = done.purl(d, orElse(d.ID, "alpine"))
			out = append(out, done)
			return nil
		}
		if len(text) < 2 || text[1] != ':' {
			return errField
		}
		any = true
		value := text[2:]
		switch text[0] {
		case 'P':
			p.Name = value
		case 'V':
			p.Version = value
		case 'A':
			p.Arch = value
		case 'o':
			p.Source = value
		case 'L':
			p.License = value
		case 'm':
			p.Supplier = value
		}
		return nil
	})
	return out, err
}
