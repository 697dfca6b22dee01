package engine

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/build"
	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/fetch"
	"github.com/camada/camada/progress"
)

// keepGitArg is the build argument that keeps the .git directory of contexts.
const keepGitArg = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"

// stdinContext is what came on standard input: a directory or the text of a Dockerfile.
type stdinContext struct {
	dir  string // "" for a Dockerfile
	text []byte
}

// takeStdin reads the context from standard input, when it is there, so that opts can be built several times.
func (e *Engine) takeStdin(ctx context.Context, opts *BuildOptions) (done func(), err error) {
	if opts.ContextDir != "-" || opts.stdin != nil {
		return func() {}, nil
	}
	if opts.Stdin == nil {
		return nil, errdefs.Invalid("there is no standard input to read the context from")
	}
	dir, done, err := e.tempDir(ctx)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(opts.Stdin, 64<<10)
	s := &stdinContext{}
	if isArchive(in) {
		s.dir = filepath.Join(dir, "context")
		err = unpackTo(ctx, in, s.dir)
	} else if s.text, err = readDockerfileText(in); err == nil && opts.File != "" {
		err = errdefs.Invalid("standard input is a Dockerfile, and -f %s names another one", opts.File)
	}
	if err != nil {
		done()
		return nil, fmt.Errorf("read the context from standard input: %w", err)
	}
	opts.stdin = s
	return done, nil
}

// openSources brings what the build reads, and says it in o. done takes it away.
func (e *Engine) openSources(ctx context.Context, opts *BuildOptions, images build.Resolver, o *build.Options, cred *credentials, sink progress.Sink) (f *fetcher, done func(), err error) {
	f = newFetcher(e, cred)
	taken, err := e.takeStdin(ctx, opts)
	if err != nil {
		f.close()
		return nil, nil, err
	}
	done = func() {
		f.close()
		taken()
	}
	if len(opts.Contexts)+len(opts.ContextImages) > 0 {
		o.Contexts, err = newNamedContexts(f, images, *opts)
	}
	if err == nil {
		err = f.openContext(ctx, opts, o, sink)
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	return f, done, nil
}

// isArchive tells a tar archive, compressed or not, from a Dockerfile, as docker does: by its first bytes.
func isArchive(r *bufio.Reader) bool {
	const block = 512
	head, _ := r.Peek(block)
	if compression.Detect(head) != compression.None {
		return true
	}
	_, err := tar.NewReader(bytes.NewReader(head)).Next()
	return err == nil
}

func readDockerfileText(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, dockerfile.MaxSize+1))
	if err == nil && len(b) > dockerfile.MaxSize {
		err = errdefs.Limit("it is neither an archive nor a Dockerfile of at most %d bytes", dockerfile.MaxSize)
	}
	if b == nil {
		b = []byte{}
	}
	return b, err
}

// unpackTo unpacks an archive to dir, which it makes. Owners do not count in a context.
func unpackTo(ctx context.Context, r io.Reader, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	plain, err := compression.NewReader(r, compression.Limits{})
	if err != nil {
		return err
	}
	defer plain.Close()
	_, err = archive.Apply(ctx, root, plain, archive.ApplyOptions{RecordOwner: true})
	return err
}

// openContext brings what the build reads and says it in o.
func (f *fetcher) openContext(ctx context.Context, opts *BuildOptions, o *build.Options, sink progress.Sink) error {
	o.Context, o.Dockerfile, o.Source = opts.ContextDir, opts.File, opts.Dockerfile
	if s := opts.stdin; s != nil {
		o.Context, o.Fetched = s.dir, s.dir != ""
		if s.dir == "" {
			o.Source = s.text
		}
	} else if err := f.mainContext(ctx, opts, o, sink); err != nil {
		return err
	}
	switch {
	case opts.Dockerfile != nil:
	case fetch.IsHTTP(opts.File):
		text, err := f.text(ctx, opts.File)
		if err != nil {
			return fmt.Errorf("read the Dockerfile: %w", err)
		}
		o.Source, o.Dockerfile = text, fetch.URL{URL: opts.File}.Name()
	case o.Fetched && filepath.IsAbs(opts.File): // as with buildx: a file of this machine
		text, err := readSmall(opts.File, dockerfile.MaxSize)
		if err != nil {
			return err
		}
		o.Source = text
	}
	return nil
}

// mainContext brings the build context that opts.ContextDir names.
func (f *fetcher) mainContext(ctx context.Context, opts *BuildOptions, o *build.Options, sink progress.Sink) error {
	name := opts.ContextDir
	if name == "" {
		return nil
	}
	kind, g, err := kindOf(name)
	if err != nil {
		return err
	}
	if kind == kindDir {
		if opts.Provenance != ProvenanceNone {
			f.noteWorkTree("", name)
		}
		return nil
	}
	shown := fetch.Redact(name)
	ev := progress.Event{ID: "context", Name: "[internal] load context " + shown}
	sink.Emit(ev)
	err = func() error {
		if kind == kindGit {
			if keep, err := strconv.ParseBool(opts.BuildArgs[keepGitArg]); err == nil && g.KeepGitDir == nil {
				g.KeepGitDir = &keep
			}
			o.Fetched = true
			if o.Context, err = f.Checkout(ctx, g); err != nil {
				return err
			}
			return f.noteGit(ctx, "", g)
		}
		dir, text, err := f.archiveOrText(ctx, name, func(n, total int64) {
			ev := ev
			ev.Current, ev.Total = n, total
			sink.Emit(ev)
		})
		if err == nil && dir == "" && opts.File != "" {
			err = errdefs.Invalid("%s is a Dockerfile, and -f %s names another one", shown, opts.File)
		}
		o.Context, o.Fetched = dir, dir != ""
		if dir == "" && o.Source == nil {
			o.Source, o.Dockerfile = text, fetch.URL{URL: name}.Name()
		}
		return err
	}()
	if ev.State = progress.Done; err != nil {
		ev.State, ev.Err = progress.Failed, err
	}
	sink.Emit(ev)
	return err
}

// The kinds of things that people name as a context.
type contextKind int

const (
	kindDir contextKind = iota
	kindGit
	kindURL
)

// kindOf tells what a context is named by. A directory that is there is a directory whatever it looks like.
func kindOf(name string) (contextKind, fetch.Git, error) {
	info, err := os.Stat(name)
	if err == nil && info.IsDir() {
		return kindDir, fetch.Git{}, nil
	}
	if err == nil {
		return 0, fetch.Git{}, errdefs.Invalid("%s is not a directory; an archive is read from standard input: camada build - < %s", name, name)
	}
	if g, isGit, err := fetch.ParseGit(name); isGit {
		return kindGit, g, err
	}
	if fetch.IsHTTP(name) {
		return kindURL, fetch.Git{}, nil
	}
	if path, isFile := strings.CutPrefix(name, "file://"); isFile {
		g, err := localGit(path)
		return kindGit, g, err
	}
	if path, _, ok := strings.Cut(name, "#"); ok && path != "" {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			g, err := localGit(name)
			return kindGit, g, err
		}
	}
	if scheme, _, ok := strings.Cut(name, "://"); ok {
		return 0, fetch.Git{}, errdefs.Unsupported("context %s: want a directory, http, https, git, ssh or file, not %s", fetch.Redact(name), scheme)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return 0, fetch.Git{}, fmt.Errorf("open the context: %w", err)
	}
	return 0, fetch.Git{}, errdefs.NotFound("there is no directory %s", name)
}

// localGit reads PATH[#ref[:directory]] of a repository on this machine.
func localGit(s string) (fetch.Git, error) {
	path, fragment, _ := strings.Cut(s, "#")
	abs, err := filepath.Abs(path)
	if err != nil {
		return fetch.Git{}, fmt.Errorf("find the repository %s: %w", path, err)
	}
	isRepo := false
	for _, head := range []string{".git", "HEAD"} {
		if _, err := os.Stat(filepath.Join(abs, head)); err == nil {
			isRepo = true
		}
	}
	if !isRepo {
		return fetch.Git{}, errdefs.NotFound("%s is not a git repository", path)
	}
	return fetch.LocalGit(abs, fragment)
}

// archiveOrText fetches a URL and returns the directory that it was unpacked to, or its content when it is no archive.
func (f *fetcher) archiveOrText(ctx context.Context, u string, p fetch.Progress) (dir string, text []byte, err error) {
	got, err := f.File(ctx, fetch.URL{URL: u}, p)
	if err != nil {
		return "", nil, err
	}
	file, err := os.Open(got.Path)
	if err != nil {
		return "", nil, err
	}
	defer file.Close()
	in := bufio.NewReaderSize(file, 64<<10)
	if !isArchive(in) {
		text, err = readDockerfileText(in)
	} else if dir, err = f.place(ctx); err == nil {
		err = unpackTo(ctx, in, dir)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", fetch.Redact(u), err)
	}
	return dir, text, err
}

// text fetches a small file.
func (f *fetcher) text(ctx context.Context, u string) ([]byte, error) {
	got, err := f.File(ctx, fetch.URL{URL: u}, nil)
	if err != nil {
		return nil, err
	}
	return readSmall(got.Path, dockerfile.MaxSize)
}

func readSmall(name string, limit int64) ([]byte, error) {
	file, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errdefs.NotFound("there is no file %s", name)
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = errdefs.Limit("%s has more than %d bytes", name, limit)
	}
	return b, err
}
