package test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// hostileTime is how long camada may take to say what it could not read. It needs far less; a machine that does other things as well is slow.
const hostileTime = 3 * time.Minute

// looker runs camada on hostile things.
type looker struct {
	t        *testing.T
	bin, dir string
}

// run returns the exit code and all that was printed; too much time or memory is an error. What is held at once is bounded, for the sizes of each day more so.
func (l *looker) run(args ...string) (code int, said string) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), hostileTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, l.bin, args...)
	cmd.Dir, cmd.Env = l.dir, append(os.Environ(), "CAMADA_ROOT="+filepath.Join(l.dir, "store"), "NO_COLOR=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	peak := peakOf(ctx, cmd.Process.Pid)
	err := cmd.Wait()
	if ctx.Err() != nil {
		l.t.Fatalf("camada %v goes on and on", args)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		l.t.Fatal(err)
	}
	if took := <-peak; took > int64(bySize(768, 1536))<<20 {
		l.t.Errorf("camada %v took %d MB of memory", args, took>>20)
	}
	if strings.Contains(out.String(), "goroutine ") {
		l.t.Errorf("camada %v: %s", args, out.String())
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// peakOf looks every few milliseconds at how much memory a process has had, in bytes, until it is gone, and hands on the last answer. What wait4
// tells would be no less than the memory of this process, from which it was forked.
func peakOf(ctx context.Context, pid int) <-chan int64 {
	last := make(chan int64, 1)
	go func() {
		peak := int64(0)
		for ctx.Err() == nil {
			status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
			_, text, ok := strings.Cut(string(status), "VmHWM:")
			if err != nil || !ok { // it has ended
				break
			}
			var kb int64
			if _, err := fmt.Sscan(text, &kb); err == nil {
				peak = max(peak, kb<<10)
			}
			time.Sleep(5 * time.Millisecond)
		}
		last <- peak
	}()
	return last
}

// unclean checks that a scan fails, and says of what.
func (l *looker) unclean(what string, names ...string) {
	l.t.Helper()
	code, said := l.run("scan", what)
	if code == 0 || code >= 125 {
		l.t.Errorf("scan %s: exit code %d: %s", what, code, said)
	}
	for _, name := range names {
		if !strings.Contains(said, name) {
			l.t.Errorf("scan %s does not speak of %q: %s", what, name, said)
		}
	}
}

func newLooker(t *testing.T) *looker {
	t.Helper()
	l := &looker{t, shipped(t), t.TempDir()}
	write(t, l.dir, "osv/X-1.json", `{"id": "X-1", "modified": "2026-01-02T00:00:00Z", "affected": [{"package": {"ecosystem": "npm", "name": "x"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}]}]}, {"package": {"ecosystem": "Maven", "name": "g:a"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}]}`)
	if code, said := l.run("db", "update", "--progress", "quiet", "--from", "osv"); code != 0 {
		t.Fatal(said)
	}
	return l
}

// ungzipped is a file of a package's testdata.
func ungzipped(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// absurd puts large numbers over a part of a file.
func absurd(data []byte, at int) []byte {
	out := bytes.Clone(data)
	for i := at; i < min(at+4, len(out)); i++ {
		out[i] = 0xff
	}
	return out
}

// Databases of packages that are cut off, damaged or half-written are no databases without packages.
func TestDamagedPackageLists(t *testing.T) {
	l := newLooker(t)
	status := "Package: a\nStatus: install ok installed\nArchitecture: all\nVersion: 1.2.3\n\nPackage: b\nStatus: install ok installed\nArchitecture: all\nVersion: 2\n"
	apk := "P:a\nV:1\nA:x86_64\n\nP:b\nV:2\nA:x86_64\n\n"
	sqlite, bdb := ungzipped(t, "../inventory/testdata/rpmdb.sqlite.gz"), ungzipped(t, "../inventory/testdata/Packages.gz")
	ndb := "RpmP\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff" + strings.Repeat("Slot\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff", 300)
	for i, c := range []struct{ file, data, says string }{
		{"var/lib/dpkg/status", status[:strings.Index(status, "2.3")], "cut off"},
		{"var/lib/dpkg/status", status[:strings.LastIndex(status, "Version")], "without a version"},
		{"var/lib/dpkg/status", status[:strings.LastIndex(status, "Status")+3], "no field"},
		{"var/lib/dpkg/status", strings.Repeat("\x00", 5000), "no field"},
		{"var/lib/dpkg/status", "Package: a\nVersion: " + strings.Repeat("1", 5000) + "\n", "very long"},
		{"var/lib/dpkg/status", "Package: a\nDepends: " + strings.Repeat("x, ", 1<<20) + "\n", "longer than"},
		{"var/lib/dpkg/updates/0001", status, "/var/lib/dpkg/updates/0001 could not be read"},
		{"lib/apk/db/installed", apk[:len(apk)-5], "cut off"},
		{"lib/apk/db/installed", apk[:strings.LastIndex(apk, "V:")], "without a version"},
		{"lib/apk/db/installed", "\x7fELF\n", "no field"},
		{"var/lib/rpm/rpmdb.sqlite", string(sqlite[:len(sqlite)-5000]), "damaged"},
		{"var/lib/rpm/rpmdb.sqlite", string(absurd(sqlite, 103)), "damaged"},
		{"var/lib/rpm/rpmdb.sqlite", string(sqlite[:16]) + "\xff\xff" + string(sqlite[18:]), "damaged"},
		{"var/lib/rpm/rpmdb.sqlite", strings.Repeat("\x00", 8192), "damaged"},
		{"var/lib/rpm/rpmdb.sqlite-wal", "x", "rpmdb.sqlite-wal could not be read"},
		{"usr/lib/sysimage/rpm/rpmdb.sqlite-journal", "x", "rpmdb.sqlite-journal could not be read"},
		{"var/lib/rpm/Packages", string(bdb[:600]), "damaged"},
		{"var/lib/rpm/Packages", string(absurd(bdb, 20)), "damaged"},
		{"usr/lib/sysimage/rpm/Packages.db", ndb, "cut off"},
		{"usr/lib/sysimage/rpm/Packages.db", "RpmP" + strings.Repeat("\x00", 8) + "\x01\x00\x00\x00" + ndb[16:], "without its header"},
	} {
		name := fmt.Sprintf("root%d", i)
		write(t, l.dir, name+"/"+c.file, c.data)
		l.unclean("./"+name, c.file, c.says)
	}
	// A file that is too large is not read into memory.
	write(t, l.dir, "large/var/lib/dpkg/status", status)
	if err := os.Truncate(filepath.Join(l.dir, "large/var/lib/dpkg/status"), 8<<30); err != nil {
		t.Skip("no sparse files here: ", err)
	}
	l.unclean("./large", "var/lib/dpkg/status is larger than")

	// The same of an image, of which nothing is remembered then.
	write(t, l.dir, "ctx/Dockerfile", "FROM scratch\nCOPY status /var/lib/dpkg/status\n", "ctx/status", status[:strings.Index(status, "2.3")])
	if code, said := l.run("build", "-q", "-t", "cut", "ctx"); code != 0 {
		t.Fatal(said)
	}
	for range 2 {
		l.unclean("cut", "var/lib/dpkg/status", "cut off")
		if code, said := l.run("sbom", "cut"); code == 0 {
			t.Errorf("an SBOM of half a list: %s", said)
		}
	}
}

// packed is an archive, as it lies compressed in others.
type packed struct {
	header zip.FileHeader
	data   []byte
}

// pack compresses what fn writes.
func pack(t *testing.T, fn func(w io.Writer)) packed {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	sum := &counted{hash: crc32.NewIEEE()}
	fn(io.MultiWriter(w, sum))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return packed{zip.FileHeader{Method: zip.Deflate, CRC32: sum.hash.Sum32(), CompressedSize64: uint64(b.Len()), UncompressedSize64: sum.size}, b.Bytes()}
}

type counted struct {
	hash hash.Hash32
	size uint64
}

func (c *counted) Write(p []byte) (int, error) {
	c.size += uint64(len(p))
	return c.hash.Write(p)
}

// bomb writes an archive that has another one several times, and tells of a package.
func bomb(t *testing.T, w io.Writer, inner packed, times int) {
	t.Helper()
	z := zip.NewWriter(w)
	for i := range times {
		h := inner.header
		h.Name = fmt.Sprintf("lib/%d.jar", i)
		f, err := z.CreateRaw(&h)
		if err == nil {
			_, err = f.Write(inner.data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	f, err := z.Create("META-INF/maven/g/a/pom.properties")
	if err == nil {
		_, err = io.WriteString(f, "groupId=g\nartifactId=a\nversion=1\n")
	}
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
}

// stored writes a zip with a file of zeros that is not compressed.
func stored(t *testing.T, w io.Writer, size int64) {
	t.Helper()
	z := zip.NewWriter(w)
	f, err := z.CreateHeader(&zip.FileHeader{Name: "zeros", Method: zip.Store})
	if err == nil {
		_, err = io.CopyN(f, zero{}, size)
	}
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
}

// zero reads as zeros.
type zero struct{}

func (zero) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// Two gigabytes of archives in archives, in a few megabytes, take a bounded part of time and memory, and are told.
func TestNestedArchives(t *testing.T) {
	l := newLooker(t)
	var wide, deep bytes.Buffer
	inner := pack(t, func(w io.Writer) { stored(t, w, 256<<20) })
	bomb(t, &wide, inner, 8)
	for range 3 { // eight of them, in each other by two
		within := inner
		inner = pack(t, func(w io.Writer) { bomb(t, w, within, 2) })
	}
	bomb(t, &deep, inner, 1)
	if wide.Len()+deep.Len() > 16<<20 {
		t.Fatalf("the archives have %d and %d bytes", wide.Len(), deep.Len())
	}
	write(t, l.dir, "ctx/wide.jar", wide.String(), "ctx/zeros.jar", strings.Repeat("\x00", 1<<20),
		"ctx/node_modules/x/package.json", `{"name": "x", "version": "1.0.0"}`, "ctx/Dockerfile", "FROM scratch\nCOPY . /srv/\n")
	// Each takes ten seconds to unpack up to the bound: of a directory the deep one is tried, of an image the wide one, and both of both when there is time.
	write(t, l.dir, "dir/deep.war", deep.String(), "dir/zeros.jar", strings.Repeat("\x00", 1<<20))
	inImage := []string{"/srv/wide.jar could not be read", "X-1"}
	if long() {
		write(t, l.dir, "ctx/deep.war", deep.String(), "dir/wide.jar", wide.String())
		l.unclean("./dir", "/wide.jar could not be read")
		inImage = append(inImage, "/srv/deep.war could not be read")
	}
	l.unclean("./dir", "/deep.war could not be read", "/zeros.jar could not be read")
	if code, said := l.run("build", "-q", "-t", "bombs", "ctx"); code != 0 {
		t.Fatal(said)
	}
	for range 2 { // what is remembered is not clean either
		l.unclean("bombs", inImage...)
	}
	_, said := l.run("sbom", "--format", "{{.Name}} {{.Path}}", "bombs")
	for _, want := range []string{"x /srv/node_modules/x/package.json", "warning: the packages listed in /srv/wide.jar could not be read"} {
		if !strings.Contains(said, want) {
			t.Errorf("got %s, want %s", said, want)
		}
	}
}

// An SBOM that was made to hurt, and VEX documents.
func TestHostileDocuments(t *testing.T) {
	l := newLooker(t)
	cdx := func(components string) string {
		return `{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [` + components + `]}`
	}
	repeated := func(s string, size int) string { return strings.Repeat(s+",", size/(len(s)+1)) + s }
	many := bySize(16, 100) << 20
	deep := func(n int) string {
		return cdx(strings.Repeat(`{"type":"library","purl":"pkg:npm/x@1","components":[`, n) + strings.Repeat("]}", n))
	}
	for name, c := range map[string]struct{ doc, says string }{
		"deep":     {deep(2_000), "deep in each other"},
		"deepest":  {deep(200_000), "read the SBOM"},
		"brackets": {`{"bomFormat": "CycloneDX", "x": ` + strings.Repeat("[", 20<<20), "read the SBOM"},
		"empty":    {cdx(repeated("{}", many)), "have no package URL"},
		"refs":     {`{"spdxVersion": "SPDX-2.3", "packages": [{"externalRefs": [` + repeated("{}", many) + `]}]}`, "1 of its parts have no package URL"},
		"graph":    {`{"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": [` + repeated(`{"type":"software_Package"}`, many) + `]}`, "elements"},
		"many":     {cdx(repeated(`{"type":"library","purl":"pkg:npm/x@1"}`, bySize(12, 40)<<20)), "more than 200000 packages"},
		"numbers":  {cdx(`{"type":"library","version":1e999999999,"name":` + strings.Repeat("9", 1<<20) + `,"purl":[1]}`), "have no package URL"},
		"long":     {cdx(`{"type":"library","purl":"pkg:npm/` + strings.Repeat("x", 10<<20) + `@1"}`), "have no package URL"},
		"cut":      {cdx(`{"type":"library","purl":"pkg:npm/x@1"}`)[:80], "read the SBOM"},
		// Elements that contain each other are no more than they are.
		"cycle": {`{"spdxVersion": "SPDX-2.3", "packages": [{"SPDXID": "a", "name": "n"}], "relationships": [{"spdxElementId": "a", "relationshipType": "CONTAINS", "relatedSpdxElement": "a"}]}`, "1 of its parts have no package URL"},
	} {
		write(t, l.dir, name+".json", c.doc)
		l.unclean("sbom:"+name+".json", name+".json", c.says)
		if err := os.Remove(filepath.Join(l.dir, name+".json")); err != nil {
			t.Fatal(err)
		}
	}
	// One that is larger than what is read.
	write(t, l.dir, "large.json", "{")
	if err := os.Truncate(filepath.Join(l.dir, "large.json"), 8<<30); err == nil {
		l.unclean("sbom:large.json", "SBOM of more than")
	}

	write(t, l.dir, "good.json", cdx(`{"type":"library","purl":"pkg:npm/y@1"}`))
	vex := func(statements string) string {
		return `{"@context": "https://openvex.dev/ns/v0.2.0", "statements": [` + statements + `]}`
	}
	large := bySize(12, 60) << 20
	product := func(products string) string {
		return `{"vulnerability": {"name": "X-1"}, "status": "fixed", "products": [` + products + `]}`
	}
	for name, c := range map[string]struct{ doc, says string }{
		"empty":    {vex(repeated("{}", large)), "status"},
		"waiting":  {vex(repeated(`{"status":"under_investigation"}`, large)), "more than 200000 statements"},
		"products": {vex(product(repeated("{}", large))), "more than"},
		"nameless": {vex(product("{}")), "a product without a name"},
		"names":    {vex(repeated(product(repeated(`"a"`, 100_000)), large)), "more than"},
		"aliases":  {vex(`{"vulnerability": {"name": "X-1", "aliases": [` + repeated(`"a"`, 4<<20) + `]}, "status": "fixed", "products": ["a"]}`), "more than"},
		"deep":     {vex(strings.Repeat(`{"products":[{"subcomponents":[`, 20_000)), "no VEX document"},
		"cdx":      {`{"bomFormat": "CycloneDX", "vulnerabilities": [` + repeated("{}", large) + `]}`, "more than 200000"},
	} {
		write(t, l.dir, name+".vex", c.doc)
		code, said := l.run("scan", "--vex", name+".vex", "sbom:good.json")
		if code == 0 || !strings.Contains(said, name+".vex") || !strings.Contains(said, c.says) {
			t.Errorf("VEX %s: exit code %d, %.500s", name, code, said)
		}
		if err := os.Remove(filepath.Join(l.dir, name+".vex")); err != nil {
			t.Fatal(err)
		}
	}
	if code, said := l.run("scan", "sbom:good.json"); code != 0 {
		t.Errorf("a document without a fault: exit code %d, %s", code, said)
	}
}
