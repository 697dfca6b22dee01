package archive

import (
	"archive/tar"
	"time"
)

// The prefixes of whiteouts: OCI image-spec, layer.md, "Whiteouts".
const (
	// WhiteoutPrefix before a name says that the parents' entry of this name is gone.
	WhiteoutPrefix = ".wh."
	// OpaqueMarker in a directory says that nothing of the parents' directory shows.
	OpaqueMarker = ".wh..wh..opq"
)

// OwnerXattr records the owner "uid:gid" of a file that could not be given to it.
const OwnerXattr = "user.camada.owner"

// The types of an Entry: those of POSIX tar that a layer can hold.
const (
	TypeReg     = tar.TypeReg
	TypeLink    = tar.TypeLink
	TypeSymlink = tar.TypeSymlink
	TypeChar    = tar.TypeChar
	TypeBlock   = tar.TypeBlock
	TypeDir     = tar.TypeDir
	TypeFifo    = tar.TypeFifo
)

// Entry is one member of a layer.
type Entry struct {
	// Name is a clean, slash-separated path without a leading or trailing
	// slash; "." is the root directory.
	Name string
	// Type is one of the Type constants.
	Type byte
	// Linkname is the target of a symbolic link, as it is; of a hard link (TypeLink), the Name
	// of the entry that it is another name of.
	Linkname string
	// Mode holds the permission, setuid, setgid and sticky bits as POSIX
	// has them: at most 0o7777.
	Mode uint32
	UID  int
	GID  int
	// ModTime is kept to the nanosecond.
	ModTime time.Time
	// Size of a regular file's content in bytes.
	Size int64
	// Xattrs are the extended attributes by full name ("user.a",
	// "security.capability").
	Xattrs map[string]string
	// Devmajor and Devminor are the numbers of a TypeChar or TypeBlock.
	Devmajor uint32
	Devminor uint32
}
