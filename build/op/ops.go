package op

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/camada/camada/build/source"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/fetch"
)

// Op is one operation of a build.
type Op interface {
	// Definition says all that decides the result besides the inputs: two ops with the same
	// definition and the same inputs have the same result. It is JSON,
	// for people too.
	Definition() string
}

// File is a small file whose content stands in the Dockerfile.
type File struct {
	Name string `json:"name"`
	Data string `json:"data"`
}

// Copy makes a layer of files of the context, of another stage or image, or of the Dockerfile.
type Copy struct {
	// Sources are paths below the root of the context or of the other tree,
	// with wildcards as path.Match has them.
	Sources []string `json:"sources,omitempty"`
	// From tells that the sources are in another vertex's result.
	From bool `json:"from,omitempty"`
	// Files stand in the Dockerfile; they are copied after Sources.
	Files []File `json:"files,omitempty"`
	// Remotes are sources that are fetched.
	Remotes []Remote `json:"remotes,omitempty"`
	// Dest is absolute; a slash at its end means a directory.
	Dest string `json:"dest"`
	// Chown is user[:group], by name or number; "" keeps the owner of files of another
	// vertex, and is root for all others.
	Chown string `json:"chown,omitempty"`
	// Chmod is octal or symbolic, as chmod(1) has it; "" keeps the modes.
	Chmod string `json:"chmod,omitempty"`
	// Exclude are patterns of what is not copied; see source.Filter.
	Exclude []string `json:"exclude,omitempty"`
	// Parents keeps the directories of the sources' paths; see source.Filter.
	Parents bool `json:"parents,omitempty"`
	// Unpack makes tar archives of the context into what is in them.
	Unpack bool `json:"unpack,omitempty"`
	// Link makes the layer without looking at the parent: links in the path
	// of Dest are not followed, and directories on the way are new.
	Link bool `json:"link,omitempty"`
}

// Remote is a source of an ADD that comes from another machine. What it brings is an input of the step, so
// the definition does not say from where.
type Remote struct {
	// URL or Git is what is fetched; the other is nil.
	URL *fetch.URL `json:"-"`
	Git *fetch.Git `json:"-"`
	// Name is what a copy into a directory calls the file.
	Name string `json:"name,omitempty"`
	// At is how many of Sources come before it.
	At int `json:"at,omitempty"`
	// Unpack makes a tar archive into what is in it.
	Unpack bool `json:"unpack,omitempty"`
}

// Definition returns the op as JSON.
func (c *Copy) Definition() string { return definition("copy.v2", c) }

// Mkdir makes a directory and those above it, if it is not there.
type Mkdir struct {
	// Path is absolute and clean.
	Path string `json:"path"`
	// User owns what is made: user[:group]; one that the parent does not know is root.
	User string `json:"user,omitempty"`
}

// Definition returns the op as JSON.
func (m *Mkdir) Definition() string { return definition("mkdir.v1", m) }

// definition begins with the kind and its version, which is raised by hand when the result of
// an unchanged op changes.
func definition(kind string, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and slices of strings can always be marshalled
	}
	return kind + " " + string(b)
}

// Check refuses what cannot work whatever the inputs are.
func (c *Copy) Check() error {
	if len(c.Sources)+len(c.Files)+len(c.Remotes) == 0 {
		return errdefs.Invalid("no source to copy")
	}
	if _, err := parseMode(c.Chmod); err != nil {
		return err
	}
	o, err := parseOwner(c.Chown)
	if err != nil {
		return err
	}
	if c.Link && (o.userName != "" || o.groupName != "") {
		return errdefs.Invalid("--chown=%s: names cannot be looked up with --link; use numbers", c.Chown)
	}
	if err := source.CheckExclude(c.Exclude); err != nil {
		return fmt.Errorf("--exclude: %w", err)
	}
	for _, f := range c.Files {
		if f.Name == "" || f.Name == "." || f.Name == ".." || strings.ContainsAny(f.Name, "/\x00") {
			return errdefs.Invalid("heredoc name %q is not a file name", f.Name)
		}
	}
	return nil
}
