package engine

import (
	"context"
	"fmt"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/layout"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/remote"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// minPrefix is how much of a digest's hex digits must be given.
const minPrefix = 6

// registryName reads a name that is said to be one of a registry: docker://NAME or ssh://HOST/NAME. Of other names ok is false.
func registryName(name string) (ref reference.Reference, ok bool, err error) {
	if !strings.HasPrefix(name, "docker://") && !strings.HasPrefix(name, reference.SSH) {
		return ref, false, nil
	}
	ref, err = reference.ParseRemote(strings.TrimPrefix(name, "docker://"))
	if err == nil && ref.Digest != "" {
		err = errdefs.Invalid("%s: a digest has no history; write NAME:TAG", name)
	}
	return ref, true, err
}

// askRegistry says how a registry is asked for a tag that the store does not know.
func (e *Engine) askRegistry(ctx context.Context, ref reference.Reference, err error) error {
	if !errdefs.IsNotFound(err) || ref.Host == reference.DefaultHost {
		return err
	}
	if _, unknown := e.refs.Log(ctx, ref); errdefs.IsNotFound(unknown) {
		return errdefs.NotFound("%w (that is the store's; the registry's is docker://%s)", err, ref.Familiar())
	}
	return err
}

func (e *Engine) remoteLog(ctx context.Context, ref reference.Reference, err error) ([]LogRow, error) {
	if err != nil {
		return nil, err
	}
	moves, err := e.registries().Repository(ref).History(ctx, ref.Tag)
	if err != nil {
		return nil, pullError(ref, err)
	}
	rows := make([]LogRow, len(moves))
	for i, m := range moves {
		rows[i] = LogRow{Entry: fmt.Sprintf("%s@{%d}", ref.Familiar(), i), Time: m.Time, Verb: m.Verb, Digest: m.To.String(), Before: m.From.String()}
		if m.Who != "" {
			rows[i].Note = "by " + m.Who
		}
	}
	return rows, nil
}

// remoteRollback counts moves as the store does, and says where that leads: what somebody else does meanwhile makes it fail.
func (e *Engine) remoteRollback(ctx context.Context, ref reference.Reference, o RollbackOptions, err error) (digest.Digest, error) {
	if err != nil {
		return "", err
	}
	repo := e.registries().Repository(ref)
	moves, err := repo.History(ctx, ref.Tag)
	if err != nil {
		return "", pullError(ref, err)
	}
	log := logOf(moves)
	var to ocispec.Descriptor
	if o.To != "" {
		to, err = wasOnce(log, o.To)
	} else {
		to, err = layout.Target(log, o.Moves)
	}
	if err != nil {
		return "", fmt.Errorf("rollback %s: %w", ref.Familiar(), err)
	}
	return to.Digest, repo.MoveBack(ctx, ref.Tag, to.Digest, moves[0].To)
}

// logOf is what a registry remembers, as the store has it.
func logOf(moves []remote.Move) []image.LogEntry {
	log := make([]image.LogEntry, len(moves))
	for i, m := range moves {
		log[i] = image.LogEntry{Time: m.Time, Verb: m.Verb, From: ocispec.Descriptor{Digest: m.From}, To: ocispec.Descriptor{Digest: m.To}}
	}
	return log
}

func (e *Engine) remoteUntag(ctx context.Context, ref reference.Reference, err error) (string, error) {
	if err != nil {
		return "", err
	}
	err = e.registries().Repository(ref).Delete(ctx, ref.Tag)
	if errdefs.IsUnsupported(err) || errdefs.IsInvalid(err) {
		// To remove the manifest instead would take other tags along.
		err = errdefs.Unsupported("%w; it removes no tags", err)
	}
	return ref.Familiar(), err
}

// wasOnce finds what a tag was, by a digest or its beginning.
func wasOnce(log []image.LogEntry, to string) (found ocispec.Descriptor, err error) {
	want := to
	if !strings.Contains(to, ":") {
		want = string(digest.Canonical) + ":" + to
	}
	if _, hex, _ := strings.Cut(want, ":"); len(hex) < minPrefix {
		return found, errdefs.Invalid("%q: want a digest, or its first %d digits", to, minPrefix)
	}
	for _, l := range log {
		for _, d := range []ocispec.Descriptor{l.To, l.From} {
			if !strings.HasPrefix(d.Digest.String(), want) || d.Digest == found.Digest {
				continue
			}
			if found.Digest != "" {
				return found, errdefs.Invalid("%s is the beginning of several digests that it was", to)
			}
			found = d
		}
	}
	if found.Digest == "" {
		return found, errdefs.NotFound("it never was %s", to)
	}
	return found, nil
}
