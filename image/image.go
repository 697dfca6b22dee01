// Package image reads and makes OCI images: index, manifest and config over a
// content store, and the refs that name them.
package image
