package archive

// Xattrs returns the extended attributes of an open file that a layer carries, nil
// when there are none, and what OwnerXattr says ("" for nothing).
func Xattrs(fd int) (attrs map[string]string, owner string, err error) {
	var x xattrReader
	attrs, err = x.read(fd)
	return attrs, x.owner, err
}
