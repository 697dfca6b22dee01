package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/fetch"
	"github.com/camada/camada/fetch/http"
	"github.com/camada/camada/internal/flock"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/sign"
	"github.com/camada/camada/vuln/db"
	"github.com/camada/camada/vuln/feed"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// advisoriesName is the directory of the store that has the advisory database: the file advisoriesFile, and a lock for who makes a new one.
	advisoriesName = "advisories"
	advisoriesFile = "advisories.db"
	// advisoriesBefore ends the name of what the database was before its last update.
	advisoriesBefore = ".before"
	// defaultAdvisories is the export of all ecosystems that OSV publishes.
	defaultAdvisories = "https://storage.googleapis.com/osv-vulnerabilities/all.zip"
	// AdvisoriesType is the type of an artifact that has an advisory database, and of the file in it.
	AdvisoriesType = "application/vnd.camada.advisories.v1"
	ociPrefix      = "oci://"
	// maxDownload is the size of a file of advisories in bytes.
	maxDownload = 16 << 30
)

// AdvisoryOptions say where advisories come from.
type AdvisoryOptions struct {
	// From are files, directories, URLs, and oci://REFERENCE for artifacts of registries; empty means CAMADA_ADVISORIES (several with spaces between them), or else the export of OSV.
	From []string
	// Signers say whose signature each source must have; nil means CAMADA_ADVISORIES_KEY, or CAMADA_ADVISORIES_IDENTITY, _ISSUER and _ROOTS, or else nobody's. Only
	// artifacts of registries have signatures: with signers no other source is taken.
	Signers *SignerOptions
}

// AdvisoryInfo tells what the advisory database has.
type AdvisoryInfo struct {
	Path string
	db.Info
	Sources []db.Source
	// By is how much it has of each ecosystem.
	By []db.Ecosystem
}

// advisoriesPath is the file of the database: CAMADA_DB, or the store's own.
func (e *Engine) advisoriesPath() string {
	if name := e.getenv("CAMADA_DB"); name != "" {
		return name
	}
	return filepath.Join(e.root, advisoriesName, advisoriesFile)
}

// UpdateAdvisories makes the advisory database anew from all sources together. A source that is a database already, whole, is taken as it is, and must
// then be the only one. Nothing changes when one of them cannot be read.
func (e *Engine) UpdateAdvisories(ctx context.Context, o AdvisoryOptions, sink progress.Sink) (*AdvisoryInfo, error) {
	from := o.From
	if len(from) == 0 {
		from = strings.Fields(e.getenv("CAMADA_ADVISORIES"))
	}
	if len(from) == 0 {
		from = []string{defaultAdvisories}
	}
	signers, err := e.advisorySigners(ctx, o.Signers)
	if err != nil {
		return nil, err
	}
	name := e.advisoriesPath()
	dir := filepath.Dir(name)
	lock, err := flock.Directory(ctx, dir, "lock")
	if err != nil {
		return nil, fmt.Errorf("update the advisory database: %w", err)
	}
	defer lock.Close()
	if left, err := filepath.Glob(filepath.Join(dir, "."+filepath.Base(name)+".*")); err == nil {
		for _, f := range left { // what a killed process left
			os.Remove(f)
		}
	}
	u := &updater{e: e, sink: progress.Or(sink), builder: db.NewBuilder(), signers: signers}
	defer u.close()
	for _, f := range from {
		if err := u.read(ctx, f, len(from) == 1); err != nil {
			return nil, err
		}
	}
	keep, err := keepBefore(name)
	if err != nil {
		return nil, err
	}
	if u.whole != "" {
		err = u.install(name)
	} else {
		err = u.write(name)
	}
	if err = errors.Join(err, keep(err == nil)); err != nil {
		return nil, err
	}
	return e.Advisories(false)
}

// keepBefore gives the database that is there a second name, which keep makes the one of what was before, when the update has brought something else.
func keepBefore(name string) (keep func(updated bool) error, err error) {
	nothing := func(bool) error { return nil }
	old, err := db.Open(name)
	if err != nil {
		return nothing, nil //nolint:nilerr // what cannot be read is not kept
	}
	was := old.Info().Digest
	if err := old.Close(); err != nil {
		return nil, err
	}
	aside := filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+advisoriesBefore)
	if err := os.Link(name, aside); err != nil {
		return nothing, nil //nolint:nilerr // a file system without links
	}
	return func(updated bool) error {
		if updated {
			if now, err := db.Open(name); err == nil {
				same := now.Info().Digest == was
				if err := now.Close(); err != nil {
					return err
				}
				if !same {
					return os.Rename(aside, name+advisoriesBefore)
				}
			}
		}
		return os.Remove(aside)
	}, nil
}

// updater is one update.
type updater struct {
	e       *Engine
	sink    progress.Sink
	builder *db.Builder
	sources []db.Source
	// signers must have signed each source; nil asks for no signature.
	signers *sign.Requirements
	// whole is a file that is a database already.
	whole string
	// dir has what was downloaded, in so many files.
	dir    string
	files  int
	remove func()
}

func (u *updater) close() {
	if u.remove != nil {
		u.remove()
	}
}

// read reads one source.
func (u *updater) read(ctx context.Context, from string, only bool) error {
	shown := from
	if u.signers != nil && !strings.HasPrefix(from, ociPrefix) {
		return errdefs.Permission("%s: a signature is asked for, and only artifacts of registries have some: take the advisories from %sNAME, where \"camada db push --sign-key\" puts them", fetch.Redact(from), ociPrefix)
	}
	if strings.HasPrefix(from, "https://") || strings.HasPrefix(from, "http://") {
		name, err := u.download(ctx, from)
		if err != nil {
			return err
		}
		shown, from = fetch.Redact(from), name
	}
	if ref, ok := strings.CutPrefix(from, ociPrefix); ok {
		name, err := u.pull(ctx, ref)
		if err != nil {
			return fmt.Errorf("get advisories from %s: %w", from, err)
		}
		from = name
	}
	if isDatabase(from) {
		if !only {
			return errdefs.Invalid("%s is an advisory database already, and cannot be put together with other sources", shown)
		}
		u.whole = from
		return nil
	}
	ev := progress.Event{ID: "read " + shown, Name: "read advisories from " + shown}
	u.sink.Emit(ev)
	f := feed.Feed{Advisory: u.builder.Add, Signals: u.builder.AddSignals, Progress: func(name string, records int) {
		u.sink.Emit(progress.Event{ID: ev.ID, Name: ev.Name, Log: fmt.Appendf(nil, "%s (%d advisories so far)\n", name, records)})
	}}
	list, err := f.Read(ctx, from)
	for i := range list {
		if shown != from {
			list[i].Name = shown
		}
	}
	u.sources = append(u.sources, list...)
	if ev.State, ev.Err = progress.Done, err; err != nil {
		ev.State = progress.Failed
	}
	u.sink.Emit(ev)
	return err
}

// place is a name for something new in the updater's directory.
func (u *updater) place(ctx context.Context) (string, error) {
	if u.dir == "" {
		dir, remove, err := u.e.tempDir(ctx)
		if err != nil {
			return "", err
		}
		u.dir, u.remove = dir, remove
	}
	u.files++
	return filepath.Join(u.dir, strconv.Itoa(u.files)), nil
}

// pull brings the files of an artifact, of one that is signed when that is asked for, and returns the only one, or their directory.
func (u *updater) pull(ctx context.Context, ref string) (string, error) {
	if u.signers != nil {
		var err error
		if ref, err = u.signed(ctx, ref); err != nil {
			return "", err
		}
	}
	dir, err := u.place(ctx)
	if err != nil {
		return "", err
	}
	a, err := u.e.PullArtifact(ctx, ArtifactPullOptions{Name: ref, Dir: dir}, u.sink)
	switch {
	case err != nil:
		return "", err
	case len(a.Files) == 0:
		return "", errdefs.Invalid("the artifact has no files with names")
	case len(a.Files) == 1:
		return a.Files[0].Path, nil
	}
	return dir, nil
}

// download brings a file; one that did not change since the last time does not come again.
func (u *updater) download(ctx context.Context, from string) (string, error) {
	dest, err := u.place(ctx)
	if err != nil {
		return "", err
	}
	client := http.New(http.Options{Dir: filepath.Join(u.e.root, "cache", "http"), MaxBytes: maxDownload})
	defer client.Close()
	ev := progress.Event{ID: "get " + from, Name: "get " + fetch.Redact(from)}
	_, err = client.Get(ctx, fetch.URL{URL: from}, dest, func(current, total int64) {
		ev.Current, ev.Total = current, total
		u.sink.Emit(ev)
	})
	if ev.State, ev.Err = progress.Done, err; err != nil {
		ev.State = progress.Failed
	}
	u.sink.Emit(ev)
	return dest, err
}

// isDatabase tells by its first bytes whether a file is an advisory database.
func isDatabase(name string) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	start := make([]byte, 8)
	_, err = io.ReadFull(f, start)
	return err == nil && bytes.Equal(start, []byte(db.Magic))
}

// install copies a database that was made elsewhere, when it is whole.
func (u *updater) install(name string) error {
	d, err := db.Open(u.whole)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Verify(); err != nil {
		return err
	}
	src, err := os.Open(u.whole)
	if err != nil {
		return err
	}
	defer src.Close()
	return db.Install(name, func(f *os.File) error {
		_, err := io.Copy(f, io.LimitReader(src, db.MaxSize))
		return err
	})
}

func (u *updater) write(name string) error {
	if u.builder.Len() == 0 {
		return errdefs.Invalid("there are no advisories in what was given, only signals about them; name a source of advisories as well")
	}
	created := time.Now()
	if t, err := parseEpoch(u.e.getenv("SOURCE_DATE_EPOCH")); err == nil && t != nil {
		created = *t
	}
	ev := progress.Event{ID: "write", Name: fmt.Sprintf("write %d advisories", u.builder.Len())}
	u.sink.Emit(ev)
	err := u.builder.Write(name, db.Meta{Created: created, Sources: u.sources})
	if ev.State, ev.Err = progress.Done, err; err != nil {
		ev.State = progress.Failed
	}
	u.sink.Emit(ev)
	return err
}

// Advisories tells what the database has. With verify all of it is read and compared with its checksum. ErrNotFound when there is none.
func (e *Engine) Advisories(verify bool) (*AdvisoryInfo, error) {
	d, err := db.Open(e.advisoriesPath())
	if err != nil {
		return nil, err
	}
	defer d.Close()
	if verify {
		if err := d.Verify(); err != nil {
			return nil, err
		}
	}
	i := &AdvisoryInfo{Path: e.advisoriesPath(), Info: d.Info()}
	if i.Sources, err = d.Sources(); err != nil {
		return nil, err
	}
	i.By, err = d.Ecosystems()
	return i, err
}

// PushAdvisories sends the database to a registry, as an artifact that "camada db update --from oci://REFERENCE" takes. It is verified before. What by names, which may be nil, signs it
// before it gets its tag.
func (e *Engine) PushAdvisories(ctx context.Context, ref string, by *SigningKey, sink progress.Sink) (Artifact, error) {
	info, err := e.Advisories(true)
	if err != nil {
		return Artifact{}, err
	}
	return e.PushArtifact(ctx, ArtifactOptions{
		Name: strings.TrimPrefix(ref, ociPrefix), Type: AdvisoriesType, Files: []ArtifactFile{{Path: info.Path, Title: advisoriesFile, MediaType: AdvisoriesType}},
		Annotations: map[string]string{ocispec.AnnotationCreated: info.Created.UTC().Format(time.RFC3339)},
		By:          by,
	}, sink)
}
