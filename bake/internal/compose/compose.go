// Package compose reads compose files, as far as builds need what the Compose Specification has.
//
//	model, err := compose.Load([]compose.File{{Name: "compose.yaml", Data: data}}, os.LookupEnv)
//	for name, service := range model.Services { ... service["build"] ... }
//
// Later files are laid over earlier ones, with what !reset and !override say. include and extends are followed, also into other
// files; variables are expanded; paths are made right from the current directory. What is left of a service is what its own
// file, its bases and the files over it say together; a build section is always a map. Nothing is fetched: files that are
// elsewhere are refused.
//
// The library that docker uses takes more time at the start of each program that links it than all else that camada starts with.
package compose

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/yamltree"
)

// The bounds of what is read.
const (
	// maxFiles is how many files include and extends may bring.
	maxFiles = 200
	// maxDepth of includes, of services that extend one another, and of variables in the defaults of variables.
	maxDepth = 50
	// maxValues is how many values all files may have together, those of bases counted for each service that extends them.
	maxValues = 1_000_000
)

// File is a compose file. Name says where it is: paths in it are below the directory of the first one.
type File struct {
	Name string
	Data []byte
}

// Lookup finds the value of a variable.
type Lookup func(name string) (string, bool)

// Model is what files say together.
type Model struct {
	// Services by their names, each a map; Secrets are the definitions at the top.
	Services, Secrets map[string]any
	// Getenv are the variables, those of the files .env included.
	Getenv Lookup
}

// Load reads files. Errors are of class ErrInvalid, ErrNotFound, ErrLimit, or ErrUnsupported, and name the file.
func Load(files []File, getenv Lookup) (*Model, error) {
	if len(files) == 0 {
		return nil, errdefs.Invalid("no compose file")
	}
	l := &loader{left: maxValues}
	dir := filepath.Dir(files[0].Name)
	env, err := withEnvFiles(getenv, optional(filepath.Join(dir, ".env")))
	if err != nil {
		return nil, err
	}
	p := &project{loader: l, dir: dir, getenv: env, bases: map[string]*document{}}
	var docs []*document
	for _, f := range files {
		d, err := p.parse(f)
		if err != nil {
			return nil, err
		}
		docs = append(docs, d...)
	}
	p.getenv = named(docs, env)
	all, err := p.model(docs)
	if err != nil {
		return nil, err
	}
	m := &Model{Getenv: p.getenv}
	if m.Services, err = section(all, "services"); err != nil {
		return nil, err
	}
	m.Secrets, err = section(all, "secrets")
	return m, err
}

// named adds the name of the project to the variables.
func named(docs []*document, env Lookup) Lookup {
	name := "bake"
	for _, d := range docs {
		if s, ok := d.top["name"].(string); ok && s != "" {
			if expanded, err := Expand(s, env); err == nil {
				name = expanded
			}
		}
	}
	return func(key string) (string, bool) {
		if v, ok := env(key); ok || key != "COMPOSE_PROJECT_NAME" {
			return v, ok
		}
		return name, true
	}
}

// loader bounds what all files become.
type loader struct{ files, left int }

// spend counts values that are made.
func (l *loader) spend(n int) error {
	if l.left -= n; l.left < 0 {
		return errdefs.Limit("the files have more than %d values, those of extended services included", maxValues)
	}
	return nil
}

// project is what is read with one directory and one set of variables: the files that were asked for, or those of an include.
type project struct {
	*loader
	dir    string
	getenv Lookup
	// above are the files whose includes led here.
	above []string
	// bases are the files that services extend.
	bases map[string]*document
}

// document is one of a file.
type document struct {
	file string
	// dir is what the paths in it are below.
	dir string
	top map[string]any
	// marks are the places with a tag, that take what is there from what the document is laid over.
	marks []mark
}

// parse reads the documents of a file.
func (p *project) parse(f File) ([]*document, error) {
	all, err := yamltree.Parse(f.Data, "!reset", "!override")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	var docs []*document
	for _, v := range all {
		if v == nil {
			continue
		}
		top, ok := v.(map[string]any)
		if !ok {
			return nil, errdefs.Invalid("%s: the file is not a map", f.Name)
		}
		if err := p.spend(size(top)); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		d := &document{file: f.Name, dir: p.dir, top: top}
		takeMarks(top, nil, &d.marks)
		docs = append(docs, d)
	}
	return docs, nil
}

// model lays documents over one another.
func (p *project) model(docs []*document) (map[string]any, error) {
	all := map[string]any{}
	for _, d := range docs {
		if err := p.add(all, d); err != nil {
			return nil, fmt.Errorf("%s: %w", d.file, err)
		}
	}
	services, err := section(all, "services")
	if err != nil {
		return nil, err
	}
	for _, s := range services {
		svc, _ := s.(map[string]any)
		if build, ok := svc["build"].(map[string]any); ok && build["context"] == nil {
			build["context"] = p.dir
		}
	}
	return all, nil
}

func (p *project) add(all map[string]any, d *document) error {
	if err := d.prepare(p.getenv); err != nil {
		return err
	}
	if err := p.include(d); err != nil {
		return err
	}
	for _, m := range d.marks {
		m.apply(all)
	}
	if err := p.extendAll(d); err != nil {
		return err
	}
	return merge(all, d.top, nil)
}

// prepare expands variables, leaves away what no build needs, and makes paths right.
func (d *document) prepare(getenv Lookup) error {
	if _, err := interpolate(d.top, getenv, 0); err != nil {
		return err
	}
	maps.DeleteFunc(d.top, func(key string, _ any) bool { return !slices.Contains([]string{"services", "secrets", "include"}, key) })
	services, err := section(d.top, "services")
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		if services[name] == nil {
			services[name] = map[string]any{}
		}
		svc, ok := services[name].(map[string]any)
		if !ok {
			return errdefs.Invalid("service %s is not a map", name)
		}
		maps.DeleteFunc(svc, func(key string, _ any) bool {
			return !slices.Contains([]string{"build", "environment", "extends", "image", "platform"}, key)
		})
		if err := d.resolveBuild(svc, getenv); err != nil {
			return fmt.Errorf("service %s: %w", name, err)
		}
	}
	return d.resolveSecrets(getenv)
}

// section returns a map at the top, nil when there is none.
func section(top map[string]any, key string) (map[string]any, error) {
	m, ok := top[key].(map[string]any)
	if !ok && top[key] != nil {
		return nil, errdefs.Invalid("%s is not a map", key)
	}
	return m, nil
}

func size(v any) int {
	n := 1
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			n += size(e)
		}
	case map[string]any:
		for _, e := range v {
			n += size(e)
		}
	case yamltree.Tagged:
		n += size(v.Value)
	}
	return n
}
