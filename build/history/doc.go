// Package history keeps what builds did: what each step was made of, whether it was cached, how long it took
// and what came out of it.
//
//	h := history.Open(dir)
//	rec := h.Record(history.Start{Context: dir, Platform: "linux/amd64"})
//	res, err := builder.Build(ctx, build.Options{Observer: rec, ...}, sink)
//	err = rec.Finish(history.End{Manifest: res.Manifest.Digest, Err: err})
//	b, err := h.Last(ctx, ...)
//
// It knows nothing of why a step was executed again: package explain compares what is kept here.
//
//	<dir>/builds/<time>-<project>-<id>   a build: a JSON object a line, locked while the build goes on
//	<dir>/objects/<aa>/<hex>             what builds have in common, named by its SHA-256
//	<dir>/lists/<hex>                    the files of a context, named by the context's digest
//	<dir>/lock                           shared: a build points to objects; exclusive: objects are removed
//
// A build costs one file and a few small writes. What it has in common with the build before (the
// Dockerfile and what follows from it, the files of the context) is there already. Nothing is
// synced: after a power cut a build can be missing or end early, and nothing else can happen.
//
// Values of build arguments are kept unless their names say that they are secrets; of those
// only a mark stays that tells whether two builds had the same one. See Masked.
package history
