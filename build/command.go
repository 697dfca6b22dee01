package build

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/camada/camada/build/op"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/layer/index"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/snapshot"
	"github.com/opencontainers/go-digest"
)

// mountPoints are files and directories that a runtime makes when the root has none.
// They are empty and no work of the step.
func mountPoints() []string {
	return []string{"proc", "sys", "dev", "etc/resolv.conf", "etc/hosts", "etc/hostname"}
}

// exec executes RUN, and leaves the writing of its layer to a goroutine.
func (w *work) exec(ctx, writeCtx context.Context, o *op.Run) error {
	r := w.run
	if r.p.Executor == nil {
		return errdefs.Unsupported("RUN: nothing here can execute commands")
	}
	below, err := w.parent.unpack(ctx)
	if err != nil {
		return err
	}
	info, err := r.p.Snapshots.Prepare(ctx, below)
	if err != nil {
		return err
	}
	r.snaps.add(info.ID)
	if err := w.command(ctx, o, info.ID); err != nil {
		return err
	}
	// The next step may start on the snapshot at once; its name comes when the layer has one.
	if info, err = r.p.Snapshots.Freeze(ctx, info.ID); err != nil {
		return err
	}
	w.finish(writeCtx, info.ID, func() (layer.Layer, error) { return w.diff(writeCtx, info.ID) })
	return nil
}

// finish sets the result of the step: the snapshot id, "" for none, now, the rest when
// the layer is written and the chainID below is known.
func (w *work) finish(ctx context.Context, id string, write func() (layer.Layer, error)) {
	res := &result{run: w.run, parent: w.parent, ready: make(chan struct{}), snapshot: id}
	w.s.res = res
	w.run.writing.Add(1)
	go func() {
		defer w.run.writing.Done()
		l, err := write()
		if err != nil {
			err = w.unwritten(ctx, err)
		}
		var parent digest.Digest
		if err == nil {
			parent, err = w.parent.chain(ctx)
		}
		res.finish(l, parent, err)
		w.end(res)
		if err != nil {
			return
		}
		// From here on the step is done well; what fails costs the next build time.
		res.mu.Lock()
		defer res.mu.Unlock()
		if id != "" {
			_ = res.name(ctx, id)
		}
		_ = w.record(ctx)
	}()
}

// unwritten tells that the step's layer could not be written, after the step itself went well: others need not go on. Its error is that of the step.
func (w *work) unwritten(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	err = w.run.explain(w.s.v, err)
	w.run.stop(err)
	return err
}

// command runs the program on the snapshot.
func (w *work) command(ctx context.Context, o *op.Run, id string) error {
	r := w.run
	root, err := r.p.Snapshots.Mount(ctx, id)
	if err != nil {
		return err
	}
	mounts, release, err := w.stepMounts(ctx, o)
	if err != nil {
		return err
	}
	defer release()
	req := op.RunRequest{
		StepMounts: mounts, Below: r.identityOf(w.s.v.Parent), Epoch: r.epoch, Insecure: o.Insecure, Devices: o.Devices, Settings: o.Settings,

		ID: "build" + strings.ToLower(rand.Text()[:16]), Root: root, Args: o.Args, Cwd: o.Cwd, User: o.User,
		Network: o.Network, Platform: o.Platform, Hostname: op.Hostname, Env: slices.Concat(o.Env, o.Proxy),
		Stdout: &logWriter{w: w}, Stderr: &logWriter{w: w, stderr: true},
	}
	if req.Network == "" {
		req.Network = op.NetworkDefault
	}
	if !slices.ContainsFunc(o.Env, func(e string) bool { return strings.HasPrefix(e, epochArg+"=") }) {
		req.Env = append(req.Env, epochArg+"="+strconv.FormatInt(r.epoch.Unix(), 10))
	}
	if o.Script != nil {
		dir, err := r.script(o.Script)
		if err != nil {
			return err
		}
		req.Mounts = append(req.Mounts, op.BindMount{Source: dir, Target: op.ScriptDir, ReadOnly: true})
	}
	err = r.p.Executor.Run(ctx, req)
	if err != nil && ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	if err != nil {
		return err
	}
	return settle(root, r.epoch)
}

// script keeps a script in a directory of its own, named by what is in it, so that
// nothing is left to remove when the build is killed.
func (r *run) script(f *op.File) (string, error) {
	name := digest.FromString(f.Name + "\x00" + f.Data).Encoded()
	dir, err := filepath.Abs(filepath.Join(r.p.CacheDir, "scripts", name))
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, f.Name)
	if data, err := os.ReadFile(path); err == nil && string(data) == f.Data {
		return dir, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("keep script: %w", err)
	}
	tmp := filepath.Join(filepath.Dir(dir), name+".tmp")
	err = os.WriteFile(tmp, []byte(f.Data), 0o755)
	if err == nil { // for every user of the step, whatever the umask here is
		err = errors.Join(os.Chmod(tmp, 0o755), os.Chmod(dir, 0o755))
	}
	if err != nil {
		return "", fmt.Errorf("keep script: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return "", fmt.Errorf("keep script: %w", err)
	}
	return dir, nil
}

// diff writes the layer of a frozen snapshot.
func (w *work) diff(ctx context.Context, id string) (layer.Layer, error) {
	r := w.run
	select {
	case r.writers <- struct{}{}:
	case <-ctx.Done():
		return layer.Layer{}, context.Cause(ctx)
	}
	defer func() { <-r.writers }()
	opts := r.layerOptions()
	tee, done, err := w.guarded(ctx, &opts)
	if err != nil {
		return layer.Layer{}, err
	}
	defer done()
	return r.indexes.Write(ctx, r.p.Content, opts, func(out io.Writer, _ index.Known) error {
		return r.p.Snapshots.Diff(ctx, id, out, snapshot.DiffOptions{Clamp: r.epoch, Exclude: mountPoints()})
	}, tee...)
}

// logWriter makes events of the output of a step.
type logWriter struct {
	w      *work
	stderr bool
}

// Write implements io.Writer.
func (l *logWriter) Write(p []byte) (int, error) {
	ev := l.w.run.event(l.w.s.v, progress.Running)
	ev.Log, ev.Stderr = p, l.stderr
	l.w.run.sink.Emit(ev)
	return len(p), nil
}
