package language

import (
	"archive/zip"
	"bytes"
	"io"
	"path"
	"strings"

	"github.com/camada/camada/errdefs"
)

// The bounds of archives in archives, for each file.
const (
	maxJarDepth   = 8
	maxJarEntries = 300_000
	// maxJarBytes is how much all together may be unpacked.
	maxJarBytes = 1 << 30
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
	bytes   int64
}

// readJar reads what Maven leaves in the jars that it builds (META-INF/maven/GROUP/ARTIFACT/pom.properties), also in the jars in a jar. A jar
// without it is taken by its manifest, when that has a group.
func readJar(f *found, data []byte) error {
	return (&jars{found: f}).read(f.name, data, 1)
}

func (j *jars) read(name string, data []byte, depth int) error {
	if depth > maxJarDepth {
		return errdefs.Limit("%s is an archive in more than %d others", name, maxJarDepth)
	}
	// The list of a hostile archive would take much memory before it could be counted.
	if j.entries += bytes.Count(data, []byte("PK\x01\x02")); j.entries > maxJarEntries {
		return errdefs.Limit("%s has more than %d files", j.name, maxJarEntries)
	}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	any := false
	var manifest []byte
	for _, e := range z.File {
		base := path.Base(e.Name)
		switch {
		case base == "pom.properties" && strings.HasPrefix(e.Name, "META-INF/maven/"):
			props, err := j.unpack(e, maxProps)
			if err != nil {
				return err
			}
			any = true
			if err := j.pom(props); err != nil {
				return err
			}
		case e.Name == "META-INF/MANIFEST.MF":
			if manifest, err = j.unpack(e, maxProps); err != nil {
				return err
			}
		case isJar(base) && !e.FileInfo().IsDir():
			inner, err := j.unpack(e, MaxFile)
			if err != nil {
				return err
			}
			if err := j.read(name+"!"+e.Name, inner, depth+1); err != nil {
				return err
			}
		}
	}
	if any {
		return nil
	}
	return j.manifest(path.Base(name), manifest)
}

func (j *jars) unpack(e *zip.File, limit int64) ([]byte, error) {
	limit = min(limit, maxJarBytes-j.bytes)
	r, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if j.bytes += int64(len(data)); int64(len(data)) > limit {
		return nil, errdefs.Limit("what is in %s is larger than what is read", j.name)
	}
	return data, nil
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
