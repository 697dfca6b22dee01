package compose

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
)

// extendAll lays each service of a document over the one that it extends (Compose Specification, 05-services.md, extends).
func (p *project) extendAll(d *document) error {
	services, err := section(d.top, "services")
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		if _, err := p.extend(d, name, nil); err != nil {
			return fmt.Errorf("service %s: %w", name, err)
		}
	}
	return nil
}

// extend returns a service over its bases. chain are the services that led here, as FILE:NAME.
func (p *project) extend(d *document, name string, chain []string) (map[string]any, error) {
	services, _ := d.top["services"].(map[string]any)
	svc, ok := services[name].(map[string]any)
	if !ok {
		return nil, errdefs.NotFound("extends: there is no service %q in %s", name, d.file)
	}
	if svc["extends"] == nil {
		return svc, nil
	}
	here := d.file + ":" + name
	chain = append(slices.Clone(chain), here)
	if slices.Contains(chain[:len(chain)-1], here) {
		return nil, errdefs.Invalid("extends leads back: %s", strings.Join(chain, " -> "))
	}
	if len(chain) > maxDepth {
		return nil, errdefs.Limit("more than %d services extend one another", maxDepth)
	}
	from, file, err := extended(svc["extends"])
	if err != nil {
		return nil, err
	}
	of := d
	if file != "" {
		if of, err = p.base(d, file); err != nil {
			return nil, err
		}
	}
	base, err := p.extend(of, from, chain)
	if err != nil {
		return nil, err
	}
	copied, err := p.clone(base)
	if err != nil {
		return nil, err
	}
	for _, m := range d.marks {
		m.apply(map[string]any{"services": map[string]any{name: copied}})
	}
	out := copied.(map[string]any)
	if err := merge(out, svc, []string{"services", name}); err != nil {
		return nil, err
	}
	delete(out, "extends")
	services[name] = out
	return out, nil
}

// extended reads an extends: the name of a service, or a map with it and the file that has it.
func extended(v any) (service, file string, err error) {
	switch v := v.(type) {
	case string:
		return v, "", nil
	case map[string]any:
		for k := range v {
			if k != "service" && k != "file" {
				return "", "", errdefs.Unsupported("extends: the key %q is not known", k)
			}
		}
		service, ok := v["service"].(string)
		if file, isText := v["file"].(string); ok && (isText || v["file"] == nil) {
			return service, file, nil
		}
	}
	return "", "", errdefs.Invalid("extends: want the name of a service, or a map with service and file")
}

// base reads a file that a service extends. Its own includes do not count, and its paths are below its own directory.
func (p *project) base(d *document, file string) (*document, error) {
	file = inDir(d.dir, file, p.getenv)
	if have := p.bases[file]; have != nil {
		return have, nil
	}
	f, err := p.open(file)
	if err != nil {
		return nil, fmt.Errorf("extends: %w", err)
	}
	of := &project{loader: p.loader, dir: filepath.Dir(file)}
	docs, err := of.parse(f)
	if err != nil {
		return nil, fmt.Errorf("extends: %w", err)
	}
	whole := &document{file: file, dir: of.dir, top: map[string]any{}}
	for _, next := range docs {
		if err := next.prepare(p.getenv); err != nil {
			return nil, fmt.Errorf("extends: %s: %w", file, err)
		}
		for _, m := range next.marks {
			m.apply(whole.top)
		}
		if err := merge(whole.top, next.top, nil); err != nil {
			return nil, fmt.Errorf("extends: %s: %w", file, err)
		}
		whole.marks = append(whole.marks, next.marks...)
	}
	p.bases[file] = whole
	return whole, nil
}
