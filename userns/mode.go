package userns

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The kinds of Mode.
const (
	// Host shares the caller's user namespace, as "" does.
	Host = "host"
	// Auto gives a container ids that no other one has.
	Auto = "auto"
	// KeepID gives the caller the same id inside.
	KeepID = "keep-id"
	// NoMap leaves the caller out.
	NoMap = "nomap"
	// OfContainer joins the user namespace of another container.
	OfContainer = "container"
)

// Mode is what a user asks for as the user namespace of a container, in Podman's words.
type Mode struct {
	Kind string
	// Container is the other one's name.
	Container string
	// Size is how many ids there are to be; 0 is as many as seem right.
	Size uint32
	// UID and GID are who the caller of KeepID is inside; -1 is himself.
	UID, GID int64
	// UIDs and GIDs are rows that Auto has to have.
	UIDs, GIDs []specs.LinuxIDMapping
}

// ParseMode reads
//
//	host
//	auto[:size=N,uidmapping=INSIDE:OUTSIDE:COUNT,gidmapping=INSIDE:OUTSIDE:COUNT]
//	keep-id[:uid=N,gid=N,size=N]
//	nomap
//	container:NAME
//
// Errors are of class ErrInvalid.
func ParseMode(text string) (Mode, error) {
	kind, options, given := strings.Cut(text, ":")
	m := Mode{Kind: kind, UID: -1, GID: -1}
	switch {
	case kind == OfContainer && options != "":
		m.Container = options
		return m, nil
	case (kind == "" || kind == Host || kind == NoMap) && !given, (kind == Auto || kind == KeepID) && !given:
		return m, nil
	case kind != Auto && kind != KeepID:
		return m, errdefs.Invalid("want host, auto, keep-id, nomap or container:NAME")
	}
	for option := range strings.SplitSeq(options, ",") {
		if err := m.option(option); err != nil {
			return m, err
		}
	}
	return m, nil
}

func (m *Mode) option(text string) (err error) {
	key, value, _ := strings.Cut(text, "=")
	switch {
	case key == "size":
		var n int64
		n, err = id(value)
		if m.Size = uint32(n); err == nil && n == 0 {
			err = errdefs.Invalid("size=0: want at least 1")
		}
	case key == "uid" && m.Kind == KeepID:
		m.UID, err = id(value)
	case key == "gid" && m.Kind == KeepID:
		m.GID, err = id(value)
	case key == "uidmapping" && m.Kind == Auto:
		m.UIDs, err = row(m.UIDs, value)
	case key == "gidmapping" && m.Kind == Auto:
		m.GIDs, err = row(m.GIDs, value)
	case m.Kind == Auto:
		err = errdefs.Invalid("option %q: want size=, uidmapping= or gidmapping=", text)
	default:
		err = errdefs.Invalid("option %q: want uid=, gid= or size=", text)
	}
	return err
}

// id reads an id of a user; the highest one means nobody.
func id(text string) (int64, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == math.MaxUint32 {
		return 0, errdefs.Invalid("%q is no id", text)
	}
	return int64(n), nil
}

// maxRows is how many rows the kernel takes, but for some of our own.
const maxRows = 300

func row(to []specs.LinuxIDMapping, text string) ([]specs.LinuxIDMapping, error) {
	parts := strings.Split(text, ":")
	var n [3]int64
	if len(parts) == 2 {
		parts = append(parts, "1")
	}
	if len(parts) != len(n) {
		return nil, errdefs.Invalid("mapping %q: want INSIDE:OUTSIDE:COUNT", text)
	}
	for i, p := range parts {
		var err error
		if n[i], err = id(p); err != nil {
			return nil, errdefs.Invalid("mapping %q: %w", text, err)
		}
	}
	r := specs.LinuxIDMapping{ContainerID: uint32(n[0]), HostID: uint32(n[1]), Size: uint32(n[2])}
	switch {
	case n[2] == 0 || n[0]+n[2] > math.MaxUint32 || n[1]+n[2] > math.MaxUint32:
		return nil, errdefs.Invalid("mapping %q: there are not so many ids", text)
	case slices.ContainsFunc(to, func(o specs.LinuxIDMapping) bool {
		return overlap(o.ContainerID, o.Size, r.ContainerID, r.Size) || overlap(o.HostID, o.Size, r.HostID, r.Size)
	}):
		return nil, errdefs.Invalid("mapping %q: has ids of another one", text)
	case len(to) >= maxRows:
		return nil, errdefs.Limit("there are more than %d mappings", maxRows)
	}
	return append(to, r), nil
}

func overlap(a, n, b, m uint32) bool {
	return uint64(a) < uint64(b)+uint64(m) && uint64(b) < uint64(a)+uint64(n)
}
