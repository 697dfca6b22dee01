package inventory

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
)

// errUnread says that a database is there that nobody here can read.
var errUnread = errors.New("a database that cannot be read")

// rpmReader reads rpm's list of installed packages with one of the three databases: each has the packages' headers, by numbers.
func rpmReader(headers func(data []byte, yield func(header []byte) error) error) func(Distribution, io.Reader) ([]Package, error) {
	return func(d Distribution, r io.Reader) ([]Package, error) {
		data, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		var out []Package
		err = headers(data, func(header []byte) error {
			p, ok, err := rpmHeader(header)
			if err != nil || !ok {
				return err
			}
			if len(out) >= MaxPackages {
				return errdefs.Limit("more than %d packages", MaxPackages)
			}
			if err := p.check(); err != nil {
				return err
			}
			p.PURL = p.rpmPURL(d)
			out = append(out, p)
			return nil
		})
		if err != nil && !errdefs.IsLimit(err) {
			err = errdefs.Invalid("%w", err)
		}
		return out, err
	}
}

// readRest reads a file that a database has beside it while it is written: what is in it is not in the database yet.
func readRest(_ Distribution, r io.Reader) ([]Package, error) {
	if n, err := io.ReadFull(r, make([]byte, 1)); n == 0 {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, err
	}
	return nil, errUnread
}

// The tags of headers that are read (rpm's documentation, "RPM Tags").
const (
	rpmName      = 1000
	rpmVersion   = 1001
	rpmRelease   = 1002
	rpmEpoch     = 1003
	rpmVendor    = 1011
	rpmLicense   = 1014
	rpmArch      = 1022
	rpmSourceRPM = 1044

	rpmInt32      = 4
	rpmString     = 6
	rpmI18NString = 9
)

var errRPM = errors.New("a header of a package that is damaged")

// rpmHeader reads a header as databases have it (rpm's documentation, "RPM V4 Package format", "Header"), without the magic number: two counts, the index, and the data.
// False is of what is no package, such as a key.
func rpmHeader(b []byte) (p Package, ok bool, err error) {
	if len(b) < 8 {
		return p, false, errRPM
	}
	count, size := uint64(binary.BigEndian.Uint32(b)), uint64(binary.BigEndian.Uint32(b[4:]))
	if count > 1<<16 || 8+16*count+size > uint64(len(b)) {
		return p, false, errRPM
	}
	index, data := b[8:8+16*count], b[8+16*count:8+16*count+size]
	var release, epoch, source string
	for ; len(index) > 0; index = index[16:] {
		tag, kind, at := binary.BigEndian.Uint32(index), binary.BigEndian.Uint32(index[4:]), uint64(binary.BigEndian.Uint32(index[8:]))
		var into *string
		switch tag {
		case rpmName:
			into = &p.Name
		case rpmVersion:
			into = &p.Version
		case rpmRelease:
			into = &release
		case rpmEpoch:
			into = &epoch
		case rpmVendor:
			into = &p.Supplier
		case rpmLicense:
			into = &p.License
		case rpmArch:
			into = &p.Arch
		case rpmSourceRPM:
			into = &source
		default:
			continue
		}
		switch {
		case (kind == rpmString || kind == rpmI18NString) && at < size:
			end := bytes.IndexByte(data[at:], 0)
			if end < 0 {
				return p, false, errRPM
			}
			*into = string(data[at : at+uint64(end)])
		case kind == rpmInt32 && at+4 <= size:
			*into = strconv.FormatUint(uint64(binary.BigEndian.Uint32(data[at:])), 10)
		default:
			return p, false, errRPM
		}
	}
	if p.Name == "gpg-pubkey" { // a key that rpm keeps as if it were a package
		return p, false, nil
	}
	if p.Version != "" && release != "" {
		p.Version += "-" + release
	}
	p.Type = "rpm"
	p.Source, p.SourceVersion = SourceRPM(source, p.Name, p.Version)
	if epoch != "" && epoch != "0" {
		p.Version = epoch + ":" + p.Version
	}
	return p, true, nil
}

// SourceRPM splits the name of a source package's file, NAME-VERSION-RELEASE.src.rpm; what it does not say is the package's own.
func SourceRPM(file, name, version string) (string, string) {
	base, ok := strings.CutSuffix(file, ".src.rpm")
	if !ok {
		base, ok = strings.CutSuffix(file, ".nosrc.rpm")
	}
	release := strings.LastIndexByte(base, '-')
	if !ok || release < 0 {
		return name, version
	}
	v := strings.LastIndexByte(base[:release], '-')
	if v <= 0 || v+1 == release {
		return name, version
	}
	return base[:v], base[v+1:]
}

// rpmPURL makes the package URL, which has the epoch as a qualifier (purl-spec, "rpm").
func (p *Package) rpmPURL(d Distribution) string {
	var b strings.Builder
	b.WriteString("pkg:rpm/")
	if d.ID != "" {
		escape(&b, strings.ToLower(d.ID))
		b.WriteByte('/')
	}
	escape(&b, p.Name)
	b.WriteByte('@')
	epoch, version, ok := strings.Cut(p.Version, ":")
	if !ok {
		epoch, version = "", p.Version
	}
	escape(&b, version)
	q := qualifiers{b: &b, separator: '?'}
	q.add("arch", p.Arch)
	if d.ID != "" && d.VersionID != "" {
		q.add("distro", d.ID+"-"+d.VersionID)
	}
	q.add("epoch", epoch)
	if p.Source != p.Name || p.SourceVersion != version {
		up := p.Source
		if p.SourceVersion != version {
			up += "@" + p.SourceVersion
		}
		q.add("upstream", up)
	}
	return b.String()
}
