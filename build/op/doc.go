// Package op holds the operations that a build is made of, and executes them:
// RUN in a container, COPY and ADD and WORKDIR as layers that are written
// directly.
//
// An operation is data. It has a Definition, a text that says all that
// decides its result besides its inputs; the build's cache is keyed by it.
//
// The package declares the Executor that RUN needs and does not know who
// starts containers.
package op
