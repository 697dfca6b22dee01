// Package layoutdir reads and writes OCI image layouts in directories (OCI
// image-spec, image-layout.md) that other tools made or shall read.
//
//	dir, err := layoutdir.Open(path)
//	for _, e := range dir.Images() { ... transfer.Copy(ctx, dir, store, e.Descriptor, ...) }
//
//	dir, err := layoutdir.Create(path)
//	err = transfer.Copy(ctx, store, dir, desc, transfer.Options{})
//	err = dir.Add(desc, name)
//
// The store's own layout, which many processes use at once, is package image/layout.
package layoutdir
