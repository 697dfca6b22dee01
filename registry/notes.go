package registry

import "context"

// MaxNote bounds a note, in bytes.
const MaxNote = 1 << 20

// Notes are small things that whoever serves a registry wants to find again, on any replica: what was used, what was pulled when. They
// belong to no repository, and no sweep takes them. A name is like that of a repository.
type Notes interface {
	// Note reads a note; ErrNotFound when there is none. The version names what it is now.
	Note(ctx context.Context, name string) (data []byte, version string, err error)
	// PutNote writes a note, or removes it when data is nil. version is what Note said last, "" that there is none; ErrConflict when that is
	// not so any more, and nothing is changed then. More than MaxNote bytes are ErrLimit.
	PutNote(ctx context.Context, name string, data []byte, version string) error
	// ListNotes returns the names of the notes below a folder, "folder/...", in byte order.
	ListNotes(ctx context.Context, folder string) ([]string, error)
}
