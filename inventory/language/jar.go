package language

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/camada/camada/errdefs"
)

// The bounds of archives in archives, for each file.
const (
	maxJarDepth   = 8
	maxJarEntries = 300_000
	// maxJarBytes is how much all together may be unpacked, and maxJarHeld how much of it is in memory at once.
	maxJarBytes = 1 << 30
	maxJarHeld  = 512 << 20
	maxProps    = 1 << 20
)

func isJar(base string) bool {
	switch strings.ToLower(path.Ext(base)) {
	case ".jar", ".war", ".ear", ".hpi", ".jpi", ".par", ".sar", ".kar", ".nar":
		return true
	}
	return false
}

// jars is one file with all that is in it.
type jars struct {
	*found
	entries int
	// bytes is how much was unpacked, held how much is in memory now.
	bytes, held int64
}

// readJar reads what Maven leaves in the jars that it builds (META-INF/maven/GROUP/ARTIFACT/pom.properties, or the pom.xml beside it), also in the jars in a jar. A jar
// without it is taken by its manifest, when that has a group. What is in an archive that cannot be read, or beyond a bound, is in broken.
func readJar(f *found, data []byte) error {
	err := (&jars{found: f}).read(f.name, data, 1)
	if err != nil && f.broken == nil {
		f.broken = err
	}
	return nil
}

var errArchive = errors.New("no archive")

// read reads one archive. An error is of the archive itself, or of class ErrLimit when no more is to be read at all.
func (j *jars) read(name string, data []byte, depth int) error {
	if depth > maxJarDepth {
		return errdefs.Limit("%s is an archive in more than %d others", name, maxJarDepth)
	}
	// The list of a hostile archive would take much memory before it could be counted.
	if j.entries += bytes.Count(data, []byte("PK\x01\x02")) + 1; j.entries > maxJarEntries {
		return errdefs.Limit("%s has more than %d files", j.name, maxJarEntries)
	}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	// By directory: what tells of a package that was packed.
	props, poms := map[string]*zip.File{}, map[string]*zip.File{}
	var manifest *zip.File
	for _, e := range z.File {
		base := path.Base(e.Name)
		switch {
		case isPackedPom(e.Name, base):
			props[path.Dir(e.Name)] = e
		case base == "pom.xml" && strings.HasPrefix(e.Name, packed):
			poms[path.Dir(e.Name)] = e
		case e.Name == "META-INF/MANIFEST.MF":
			manifest = e
		case isJar(base) && !e.FileInfo().IsDir():
			if err := j.inner(name+"!"+e.Name, e, data, depth); errdefs.IsLimit(err) {
				return err
			} else if err != nil && j.broken == nil {
				j.broken = fmt.Errorf("%s: %w", e.Name, err)
			}
		}
	}
	any := false
	for _, dir := range sorted(props) {
		text, err := j.unpack(props[dir], maxProps)
		if err != nil {
			return err
		}
		if err := j.pom(text); err != nil {
			return err
		}
		any = true
	}
	for _, dir := range sorted(poms) {
		if props[dir] != nil {
			continue
		}
		known, err := j.packedProject(poms[dir])
		if err != nil {
			return err
		}
		any = any || known
	}
	if any || manifest == nil {
		return nil
	}
	text, err := j.unpack(manifest, maxProps)
	if err != nil {
		return err
	}
	return j.manifest(path.Base(name), text)
}

// inner reads an archive in an archive.
func (j *jars) inner(name string, e *zip.File, outer []byte, depth int) error {
	data, err := j.content(e, outer)
	if err != nil {
		return err
	}
	defer func() { j.held -= int64(len(data)) }()
	if j.held += int64(len(data)); j.held > maxJarHeld {
		return errdefs.Limit("the archives in each other in %s have more than %d bytes", j.name, int64(maxJarHeld))
	}
	return j.read(name, data, depth+1)
}

// content is an archive in an archive. One that is not compressed is read where it lies.
func (j *jars) content(e *zip.File, outer []byte) ([]byte, error) {
	if e.Method != zip.Store {
		return j.unpack(e, MaxFile)
	}
	at, err := e.DataOffset()
	if err != nil {
		return nil, err
	}
	if at < 0 || at > int64(len(outer)) || e.CompressedSize64 > uint64(int64(len(outer))-at) {
		return nil, errArchive
	}
	if j.bytes += int64(e.CompressedSize64); j.bytes > maxJarBytes {
		return nil, errdefs.Limit("what is in %s is larger than what is read", j.name)
	}
	return outer[at : at+int64(e.CompressedSize64)], nil
}

func (j *jars) unpack(e *zip.File, limit int64) ([]byte, error) {
	limit = min(limit, maxJarBytes-j.bytes)
	r, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var buf bytes.Buffer
	// A size that cannot be is not believed: deflate makes at most 1032 bytes of one.
	buf.Grow(int(min(e.UncompressedSize64, uint64(max(limit, 0)), 1032*min(e.CompressedSize64, MaxFile))) + bytes.MinRead)
	n, err := buf.ReadFrom(io.LimitReader(r, limit+1))
	j.bytes += n
	switch {
	case n > limit:
		return nil, errdefs.Limit("what is in %s is larger than what is read", j.name)
	case err != nil:
		return nil, err
	}
	return buf.Bytes(), nil
}

// packed is where Maven puts what tells of a package into an archive.
const packed = "META-INF/maven/"

// isPackedPom: the properties that Maven packs; also in the directory of an archive that was unpacked.
func isPackedPom(name, base string) bool {
	return base == "pom.properties" && (strings.HasPrefix(name, packed) || strings.Contains(name, "/"+packed))
}

func readPackedPom(f *found, data []byte) error { return (&jars{found: f}).pom(data) }

// packedProject takes the names of a package from the pom.xml that is packed with it, where it says them itself.
func (j *jars) packedProject(e *zip.File) (known bool, err error) {
	data, err := j.unpack(e, maxPom)
	if err != nil {
		return false, err
	}
	p, err := parseProject(data)
	if err != nil {
		return false, err
	}
	r := &resolver{all: maxLookups}
	group, artifact, version, ok := r.coordinates(p)
	if !ok {
		return false, nil
	}
	return true, j.addMaven(group, artifact, version)
}

// pom reads pom.properties (maven.apache.org, "Apache Maven Archiver").
func (j *jars) pom(data []byte) error {
	var group, artifact, version string
	err := lines(data, func(line string) error {
		key, value, _ := strings.Cut(line, "=")
		switch value = strings.TrimSpace(value); strings.TrimSpace(key) {
		case "groupId":
			group = value
		case "artifactId":
			artifact = value
		case "version":
			version = value
		}
		return nil
	})
	if err != nil {
		return err
	}
	return j.addMaven(group, artifact, version)
}

func (j *jars) addMaven(group, artifact, version string) error {
	if group == "" || artifact == "" {
		return nil
	}
	return j.add("maven", group+":"+artifact, version, "")
}

// manifest takes group, artifact and version from a manifest (the JAR file specification) and the jar's name, ARTIFACT-VERSION.jar. The group is what the vendor's ID says, or
// a bundle's name that ends with the artifact's. What is not told is not guessed.
func (j *jars) manifest(base string, data []byte) error {
	fields := map[string]string{}
	key := ""
	main := true
	err := lines(data, func(line string) error {
		switch {
		case line == "":
			main = false
		case main && line[0] == ' ' && key != "":
			fields[key] += line[1:]
		case main:
			var value string
			key, value, _ = strings.Cut(line, ":")
			fields[key] = strings.TrimSpace(value)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if i := strings.LastIndexByte(base, '/'); i >= 0 {
		base = base[i+1:]
	}
	artifact, version := jarName(strings.TrimSuffix(base, path.Ext(base)))
	version = orElse(version, orElse(fields["Implementation-Version"], fields["Bundle-Version"]))
	group := fields["Implementation-Vendor-Id"]
	if bundle, _, _ := strings.Cut(fields["Bundle-SymbolicName"], ";"); group == "" {
		if rest, ok := strings.CutSuffix(bundle, "."+artifact); ok {
			group = rest
		} else if strings.Count(bundle, ".") > 0 && strings.HasSuffix(bundle, lastPart(artifact)) {
			group = bundle[:strings.LastIndexByte(bundle, '.')]
		}
	}
	if strings.ContainsAny(group+artifact+version, " \t${}") {
		return nil
	}
	return j.addMaven(group, artifact, version)
}

// lastPart is what stands behind the last dash, with the dot that a bundle's name has before it.
func lastPart(artifact string) string { return "." + artifact[strings.LastIndexByte(artifact, '-')+1:] }

// jarName cuts ARTIFACT-VERSION at the first dash that a digit follows.
func jarName(s string) (artifact, version string) {
	for i := 1; i+1 < len(s); i++ {
		if s[i] == '-' && s[i+1] >= '0' && s[i+1] <= '9' {
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}
