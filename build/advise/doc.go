// Package advise says how a Dockerfile could be arranged better, with what that would have saved. All figures come
// from the history of builds: durations and sizes that were measured, replayed with a cache that would have known more.
//
//	r, err := advise.Advise(ctx, builds, advise.Parts{Files: h.Files}) // builds: the oldest first, of one Dockerfile
//
// There are four kinds of advice:
//
//   - Split: a COPY of many files lies below a command that does not depend on those that change. Either the command
//     is one of which it is known what it reads (see reads), which is then assumed; or its
//     result was the same again although the files had changed.
//   - Ignore: files of a COPY changed, steps were executed, and the image stayed the same.
//   - Argument: an ARG changed, and commands that see it were executed with the same result.
//   - Cache: a layer holds caches or lists of a package manager.
//
// The replay is over all builds but the first, which the cache would have begun with. Seconds are
// those of the longest chain of steps that wait for each other, so stages that run side by side are
// not counted twice. Bytes are those of layers that would not have been new.
package advise
