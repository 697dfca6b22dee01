package advise

import (
	"context"
	"fmt"
	"strings"

	"github.com/camada/camada/errdefs"
)

// minCache is how many bytes of caches are worth a word.
const minCache = 100 << 10

// litter is a place where package managers keep what an image does not need.
type litter struct {
	what string
	// dirs are directories, with a slash at the end.
	dirs []string
	// target is what a cache mount should have.
	target string
}

func litters() []litter {
	return []litter{
		{"lists of apt", []string{"var/lib/apt/lists/"}, "/var/lib/apt"},
		{"packages and caches of apt", []string{"var/cache/apt/"}, "/var/cache/apt"},
		{"the cache of apk", []string{"var/cache/apk/", "etc/apk/cache/"}, "/var/cache/apk"},
		{"the cache of dnf", []string{"var/cache/dnf/", "var/cache/yum/", "var/cache/libdnf5/"}, "/var/cache/dnf"},
		{"the cache of pip", []string{"root/.cache/pip/"}, "/root/.cache/pip"},
		{"the cache of uv", []string{"root/.cache/uv/"}, "/root/.cache/uv"},
		{"the cache of npm", []string{"root/.npm/_cacache/", "root/.npm/_logs/"}, "/root/.npm"},
		{"the cache of yarn", []string{"usr/local/share/.cache/yarn/", "root/.yarn/berry/cache/", "root/.cache/yarn/"}, "/usr/local/share/.cache"},
		{"the store of pnpm", []string{"root/.local/share/pnpm/store/"}, "/root/.local/share/pnpm/store"},
		{"the build cache of Go", []string{"root/.cache/go-build/"}, "/root/.cache/go-build"},
		{"the module cache of Go", []string{"go/pkg/mod/cache/", "root/go/pkg/mod/cache/"}, "/go/pkg/mod"},
		{"the registry of cargo", []string{"usr/local/cargo/registry/", "root/.cargo/registry/"}, "/usr/local/cargo/registry"},
		{"the cache of composer", []string{"root/.composer/cache/", "root/.cache/composer/"}, "/root/.composer/cache"},
		{"the repository of Maven", []string{"root/.m2/repository/"}, "/root/.m2"},
	}
}

// match reports whether a path of a layer belongs to it.
func (l *litter) match(path string) bool {
	path = strings.TrimPrefix(path, "/")
	for _, d := range l.dirs {
		if strings.HasPrefix(path, d) {
			return true
		}
	}
	return false
}

// caches looks for caches of package managers in the layers of the image.
func (r *replay) caches(ctx context.Context) ([]Advice, error) {
	if r.parts.Layer == nil {
		return nil, nil
	}
	var out []Advice
	pushed := r.pushed()
	for i, v := range r.ref.Plan.Vertices {
		s := r.ref.Steps[i]
		if !pushed[i] || s == nil || s.Layer == "" || !strings.HasPrefix(v.Definition, "run.") {
			continue
		}
		all := litters()
		sizes := make([]int64, len(all))
		err := r.parts.Layer(ctx, s, func(path string, size int64) {
			for k := range all {
				if all[k].match(path) {
					sizes[k] += size
				}
			}
		})
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for k := range all {
			if sizes[k] < minCache {
				continue
			}
			a, err := r.cacheAdvice(ctx, i, &all[k], sizes[k])
			if err != nil {
				return nil, err
			}
			out = append(out, a)
		}
	}
	return out, nil
}

func (r *replay) cacheAdvice(ctx context.Context, i int, l *litter, size int64) (Advice, error) {
	v, s := r.ref.Plan.Vertices[i], r.ref.Steps[i]
	a := Advice{Kind: Cache, Line: v.Line, Step: v.Name, Builds: len(r.builds) - 1}
	small, err := r.parts.Compressed(ctx, s, l.match)
	if err != nil {
		return a, err
	}
	for k := 1; k < len(r.builds); k++ {
		if st := r.step(k, i); st != nil && st.Layer != "" && r.newBytes(k, i) > 0 {
			a.Helped++
		}
	}
	if a.Builds > 0 {
		a.BytesPerPush = small * int64(a.Helped) / int64(a.Builds)
	}
	a.Text = fmt.Sprintf("keep %s out of the layer: RUN --mount=type=cache,target=%s, or remove them in the same RUN", l.what, l.target)
	a.Evidence = fmt.Sprintf("the layer has %d bytes of them, %d compressed; it was new in %d of %d builds", size, small, a.Helped, a.Builds)
	return a, nil
}
