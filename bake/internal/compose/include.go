package compose

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/yamltree"
)

// included is one entry of include.
type included struct {
	paths, envFiles []string
	dir             string // "" when it names none
}

// include brings in what the document includes (Compose Specification, 14-include.md). Each entry is a project of its own,
// with its own directory and variables; what the document says itself is laid over it.
func (p *project) include(d *document) error {
	entries, ok := d.top["include"].([]any)
	if !ok && d.top["include"] != nil {
		return errdefs.Invalid("include is not a list")
	}
	delete(d.top, "include")
	for _, e := range entries {
		in, err := readIncluded(e)
		if err != nil {
			return fmt.Errorf("include: %w", err)
		}
		model, err := p.load(in, d)
		if err != nil {
			return fmt.Errorf("include: %w", err)
		}
		for _, key := range []string{"services", "secrets"} {
			if err := takeOver(d, model, key); err != nil {
				return err
			}
		}
	}
	return nil
}

func readIncluded(v any) (in included, err error) {
	if s, ok := v.(string); ok {
		return included{paths: []string{s}}, nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		return in, errdefs.Invalid("want a path, or a map with path, project_directory and env_file")
	}
	for k, v := range m {
		switch k {
		case "path":
			in.paths, err = stringOrList(v)
		case "env_file":
			in.envFiles, err = stringOrList(v)
		case "project_directory":
			if in.dir, ok = v.(string); !ok {
				err = errdefs.Invalid("want a path")
			}
		default:
			err = errdefs.Unsupported("the key is not known")
		}
		if err != nil {
			return in, fmt.Errorf("%s: %w", k, err)
		}
	}
	if len(in.paths) == 0 {
		return in, errdefs.Invalid("path is missing")
	}
	return in, nil
}

func stringOrList(v any) ([]string, error) {
	switch v := v.(type) {
	case string:
		return []string{v}, nil
	case []any:
		var out []string
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, errdefs.Invalid("want a path or a list of paths")
			}
			out = append(out, s)
		}
		return out, nil
	}
	return nil, errdefs.Invalid("want a path or a list of paths")
}

// load reads what an entry names: the files after the first are laid over it.
func (p *project) load(in included, d *document) (map[string]any, error) {
	first := inDir(p.dir, in.paths[0], p.getenv)
	sub := &project{loader: p.loader, dir: filepath.Dir(first), above: append(slices.Clone(p.above), filepath.Clean(d.file)), bases: map[string]*document{}}
	if in.dir != "" {
		sub.dir = inDir(p.dir, in.dir, p.getenv)
	}
	if slices.Contains(sub.above, first) {
		return nil, errdefs.Invalid("the files include one another: %s", strings.Join(append(sub.above, first), " -> "))
	}
	if len(sub.above) > maxDepth {
		return nil, errdefs.Limit("more than %d files include one another", maxDepth)
	}
	envFiles := []envFile{optional(filepath.Join(sub.dir, ".env"))}
	if len(in.envFiles) > 0 {
		envFiles = nil
		for _, f := range in.envFiles {
			if f != os.DevNull { // it says that there is none
				envFiles = append(envFiles, envFile{name: inDir(p.dir, f, p.getenv)})
			}
		}
	}
	var err error
	if sub.getenv, err = withEnvFiles(p.getenv, envFiles...); err != nil {
		return nil, err
	}
	var docs []*document
	for _, name := range in.paths {
		f, err := p.open(inDir(p.dir, name, p.getenv))
		if err != nil {
			return nil, err
		}
		more, err := sub.parse(f)
		if err != nil {
			return nil, err
		}
		docs = append(docs, more...)
	}
	return sub.model(docs)
}

// takeOver adds what an include brought to the document. Where both have a name, the document's is laid over it.
func takeOver(d *document, model map[string]any, key string) error {
	from, err := section(model, key)
	if err != nil || from == nil {
		return err
	}
	to, err := section(d.top, key)
	if err != nil {
		return err
	}
	if to == nil {
		to = map[string]any{}
		d.top[key] = to
	}
	for name, v := range from {
		own, ok := to[name]
		if !ok {
			to[name] = v
			continue
		}
		if reflect.DeepEqual(own, v) {
			continue // two ways to the same file
		}
		for _, m := range d.marks {
			m.apply(map[string]any{key: map[string]any{name: v}})
		}
		if to[name], err = joined(v, own, []string{key, name}); err != nil {
			return err
		}
	}
	return nil
}

// open reads a file that another one names.
func (l *loader) open(name string) (File, error) {
	if isRemote(name) {
		return File{}, errdefs.Unsupported("%s is not a local file; fetch it, and name the copy", name)
	}
	if l.files++; l.files > maxFiles {
		return File{}, errdefs.Limit("more than %d files", maxFiles)
	}
	data, err := readFile(name, yamltree.MaxSize)
	return File{Name: name, Data: data}, err
}

// readFile reads a regular file of at most limit bytes.
func readFile(name string, limit int64) ([]byte, error) {
	st, err := os.Stat(name)
	if os.IsNotExist(err) {
		return nil, errdefs.NotFound("there is no file %s", name)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if !st.Mode().IsRegular() {
		return nil, errdefs.Invalid("%s is not a file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, errdefs.Limit("%s has more than %d bytes", name, limit)
	}
	return data, nil
}
