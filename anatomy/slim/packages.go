package slim

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/inventory"
	"github.com/camada/camada/inventory/language"
)

// pkg is a package of the system's.
type pkg struct {
	name, version string
	// text is its paragraph in the database.
	text []byte
	// arch tells two of one name apart.
	arch string
	// all and kept count its files.
	all, kept Count
}

// Count counts files and their bytes.
type Count struct {
	Files int
	Bytes int64
}

func (c *Count) add(size int64) {
	c.Files++
	c.Bytes += size
}

const (
	// maxDatabase is the size of a package database, or of one list of files, in bytes; maxPackages how many packages there may be.
	maxDatabase = 128 << 20
	maxPackages = inventory.MaxPackages
	dpkgDir     = "var/lib/dpkg"
)

// packages finds out which packages files are kept of, and keeps what tells of them.
func (c *chooser) packages(ctx context.Context) error {
	if err := c.languages(ctx); err != nil {
		return err
	}
	if err := c.dpkg(ctx); err != nil {
		return err
	}
	for _, name := range []string{"lib/apk/db/installed", "usr/lib/apk/db/installed"} {
		if err := c.apk(name); err != nil {
			return err
		}
	}
	for _, dir := range inventory.Dirs() {
		d := c.t.find(dir, false).end
		if d == nil || !d.isDir() || dir == dpkgDir || strings.HasSuffix(dir, "apk/db") {
			continue
		}
		for _, k := range d.children() {
			if !inventory.Wanted(dir, k.name) {
				continue
			}
			c.keep("/"+k.path(), false, "tells of packages")
			if strings.Contains(dir, "rpm") || strings.Contains(dir, "pacman") {
				c.sel.Databases = append(c.sel.Databases, k.path())
			}
		}
	}
	return c.settle(ctx)
}

// own gives a file to a package. Of two the first has it.
func (c *chooser) own(name string, index int) {
	n := c.t.find(name, true).end
	if n == nil || n.isDir() || n.owner != 0 {
		return
	}
	n.owner = index + 1
	p := &c.sel.pkgs[index]
	p.all.add(n.size)
	if n.kept {
		p.kept.add(n.size)
	}
}

// dpkg reads which files are whose (dpkg-query(1)), and adds a list for each package of which one is kept, as distroless images have it.
func (c *chooser) dpkg(ctx context.Context) error {
	status, err := c.t.read(dpkgDir+"/status", maxDatabase)
	if err != nil || status == nil {
		return err
	}
	first := len(c.sel.pkgs)
	byName := map[string]int{}
	for text := range paragraphs(status) {
		p := pkg{name: field(text, "Package"), version: field(text, "Version"), arch: field(text, "Architecture"), text: text}
		if p.name == "" || p.name == "." || p.name == ".." || strings.ContainsAny(p.name, "/\x00") || strings.Contains(p.arch, "/") {
			continue
		}
		if len(c.sel.pkgs) >= maxPackages {
			return errdefs.Limit("more than %d packages", maxPackages)
		}
		c.sel.pkgs = append(c.sel.pkgs, p)
		byName[p.name+":"+p.arch] = len(c.sel.pkgs) - 1
		if _, ok := byName[p.name]; !ok {
			byName[p.name] = len(c.sel.pkgs) - 1
		}
	}
	if dir := c.t.find(dpkgDir+"/info", false).end; dir != nil {
		for _, k := range dir.children() {
			if err := ctx.Err(); err != nil {
				return err
			}
			i, ok := byName[strings.TrimSuffix(k.name, ".list")]
			if !ok || !strings.HasSuffix(k.name, ".list") {
				continue
			}
			list, err := c.t.read(k.path(), maxDatabase)
			if err != nil {
				return err
			}
			for line := range strings.Lines(string(list)) {
				c.own(strings.TrimSuffix(line, "\n"), i)
			}
		}
	}
	whole := c.t.find(dpkgDir+"/status", false).end.kept // a program of the image's own reads it
	names := map[string]int{}
	for i := first; i < len(c.sel.pkgs); i++ {
		if c.sel.pkgs[i].kept.Files > 0 {
			names[c.sel.pkgs[i].name]++
		}
	}
	for i := first; i < len(c.sel.pkgs); i++ {
		p := &c.sel.pkgs[i]
		if p.kept.Files == 0 {
			continue
		}
		c.keep("/usr/share/doc/"+p.name+"/copyright", false, "licence of what is kept")
		name := p.name
		if names[name] > 1 {
			name += "_" + p.arch
		}
		if !whole {
			c.add(dpkgDir+"/status.d/"+name, p.text)
		}
	}
	if whole {
		c.sel.Databases = append(c.sel.Databases, dpkgDir+"/status")
	}
	return nil
}

// add makes a file, and keeps the directories that it is in as far as the tree has them.
func (c *chooser) add(name string, text []byte) {
	c.keep("/"+path.Dir(name), false, "tells of packages")
	c.sel.Added[name] = text
}

// apk reads apk's database, and leaves in it the packages of which a file is kept.
func (c *chooser) apk(name string) error {
	db, err := c.t.read(name, maxDatabase)
	if err != nil || db == nil {
		return err
	}
	n := c.t.find(name, false).end
	if _, done := c.sel.Replaced[n.path()]; done { // /lib is a link to usr/lib
		return nil
	}
	if n.kept {
		c.sel.Databases = append(c.sel.Databases, n.path())
		return nil
	}
	var out bytes.Buffer
	for text := range paragraphs(db) {
		if len(c.sel.pkgs) >= maxPackages {
			return errdefs.Limit("more than %d packages", maxPackages)
		}
		p := pkg{name: field(text, "P"), version: field(text, "V"), arch: field(text, "A"), text: text}
		c.sel.pkgs = append(c.sel.pkgs, p)
		at, dir := len(c.sel.pkgs)-1, ""
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSuffix(line, "\n")
			if d, ok := strings.CutPrefix(line, "F:"); ok {
				dir = d
			} else if f, ok := strings.CutPrefix(line, "R:"); ok {
				c.own(path.Join("/", dir, f), at)
			}
		}
		if c.sel.pkgs[at].kept.Files > 0 {
			out.Write(bytes.TrimRight(text, "\n"))
			out.WriteString("\n\n")
		}
	}
	c.keep("/"+n.path(), true, "tells of packages")
	c.sel.Replaced[n.path()] = out.Bytes()
	return nil
}

// paragraphs are the parts of a text between empty lines, each with the end of its last line.
func paragraphs(text []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(text) > 0 {
			part := text
			if i := bytes.Index(text, []byte("\n\n")); i >= 0 {
				part, text = text[:i+1], text[i+2:]
			} else {
				text = nil
			}
			if part = bytes.Trim(part, "\n"); len(part) > 0 && !yield(append(slices.Clip(part), '\n')) {
				return
			}
		}
	}
}

// field is the value of a line "Name: value".
func field(text []byte, name string) string {
	for line := range bytes.Lines(text) {
		if v, ok := bytes.CutPrefix(line, []byte(name+":")); ok {
			return string(bytes.TrimSpace(v))
		}
	}
	return ""
}

// languages keeps the files that tell of packages of which something is kept: package.json, METADATA, lock files.
func (c *chooser) languages(ctx context.Context) error {
	count(c.t.root)
	var err error
	c.t.root.each(func(n *node) {
		if err != nil || n.kept || !n.isFile() || !language.Wanted(n.path(), 0o644, n.size) {
			return
		}
		if err = ctx.Err(); err != nil {
			return
		}
		switch path.Ext(n.name) {
		case ".jar", ".war", ".ear", ".hpi", ".jpi", ".par", ".sar": // they are the packages themselves
			return
		}
		if c.tellsOfKept(n) {
			c.mark(n, "tells of packages")
		}
	})
	return err
}

// count fills in node.below.
func count(n *node) int {
	n.below = 0
	for _, k := range n.kids {
		if k.isDir() {
			n.below += count(k)
		} else if k.kept && k.isFile() {
			n.below++
		}
	}
	return n.below
}

// tellsOfKept reports whether something is kept of the package that a file tells of.
func (c *chooser) tellsOfKept(n *node) bool {
	dir := n.parent
	switch {
	case strings.HasSuffix(dir.name, ".dist-info") && dir.parent != nil:
		if record := dir.kids["RECORD"]; record != nil && record.isFile() {
			return c.recorded(dir.parent, record)
		}
		return dir.parent.below > 0
	case strings.HasSuffix(dir.name, ".egg-info") && dir.parent != nil:
		return dir.parent.below > 0
	case strings.HasSuffix(n.name, ".gemspec") && dir.name == "specifications" && dir.parent != nil:
		gem := c.t.find(path.Join(dir.parent.path(), "gems", strings.TrimSuffix(n.name, ".gemspec")), false).end
		return gem != nil && gem.below > 0
	case dir.name == "composer" && dir.parent != nil: // vendor/composer/installed.json
		return dir.parent.below > 0
	}
	return dir.below > 0
}

// recorded reports whether a file is kept that a wheel's RECORD lists, by paths from the directory that it is installed in.
func (c *chooser) recorded(site, record *node) bool {
	text, err := c.t.read(record.path(), 32<<20)
	if err != nil {
		return true // of what cannot be read it is better to tell
	}
	r := csv.NewReader(bytes.NewReader(text))
	r.FieldsPerRecord, r.LazyQuotes, r.ReuseRecord = -1, true, true
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return false
		}
		if err != nil {
			return true
		}
		if n := c.t.find(path.Join("/", site.path(), row[0]), true).end; n != nil && n.kept && n.isFile() && n.parent != record.parent {
			return true
		}
	}
}
