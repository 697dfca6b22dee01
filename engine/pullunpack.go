package engine

import (
	"context"

	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/image"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/transfer"
	"github.com/camada/camada/unpack"
)

// fetchImage copies an image of a registry into the store, and unpacks its layers meanwhile unless they are wanted as they are.
func (e *Engine) fetchImage(ctx context.Context, found *pulled, packed bool, sink progress.Sink) error {
	o := transfer.Options{Concurrency: transfers, Resume: true, Progress: renamed{sink, "pull-", "pull"}}
	snaps, err := e.snapshots(ctx)
	if packed || err != nil || !runsHere(found.image) {
		// Where nothing can be unpacked an image can still be stored; whoever runs it is told why.
		return transfer.Copy(ctx, found.repo, e.content, found.image.Descriptor, o)
	}
	o.Flow = transfer.NewFlow(e.content)
	img := found.image
	opts := unpack.Options{Progress: firstTry{renamed{sink, "unpack-", "unpack"}}, Verified: true}
	unpackCtx, stop := context.WithCancel(ctx)
	defer stop()
	var unpackErr error
	unpacked := make(chan struct{})
	go func() {
		defer close(unpacked)
		_, unpackErr = unpack.Image(unpackCtx, o.Flow, snaps, img.Layers, img.DiffIDs, opts)
	}()
	err = transfer.Copy(ctx, found.repo, e.content, img.Descriptor, o)
	o.Flow.End(err)
	if err != nil {
		stop()
		<-unpacked
		return err
	}
	<-unpacked
	if unpackErr == nil || ctx.Err() != nil {
		return unpackErr
	}
	// What a download that was begun again may have upset is right in the store now; otherwise this tells what is wrong.
	_, err = unpack.Image(ctx, e.content, snaps, img.Layers, img.DiffIDs, unpack.Options{Progress: renamed{sink, "unpack-", "unpack"}})
	return err
}

// firstTry leaves out what is no news: layers that were unpacked before, and failures that are followed by another try.
type firstTry struct{ progress.Sink }

// Emit implements progress.Sink.
func (f firstTry) Emit(e progress.Event) {
	if e.State == progress.Running || e.State == progress.Done {
		f.Sink.Emit(e)
	}
}

// runsHere reports whether an image can be run on this machine: then its layers are unpacked when they are fetched.
func runsHere(img *image.Image) bool {
	if !platform.Match(platform.Host(), img.Config.Platform) {
		return false
	}
	for _, l := range img.Layers {
		if _, err := compression.FromMediaType(l.MediaType); err != nil || len(l.URLs) > 0 {
			return false
		}
	}
	return true
}
