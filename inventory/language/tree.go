package language

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/inventory"
)

// maxTree is how many files and directories of a tree are looked at.
const maxTree = 8_000_000

// File is what a file tells.
type File struct {
	Packages []inventory.Package
	// Functions are those of a program of Go; nil of any other file, and when they cannot be read.
	Functions *Functions
	// Project is what a pom.xml says; Resolve makes packages of it.
	Project *Project
}

// ReadTree reads all files of a tree that tell of packages, and follows no links. Files that could not be read, or were too large, are in unread. The packages are in the order
// of their files.
func ReadTree(ctx context.Context, root fs.FS) (pkgs []inventory.Package, unread []string, err error) {
	return ReadTreeWith(ctx, root, nil)
}

// ReadTreeWith is ReadTree that also hands on the functions of programs of Go, by their paths, when linked is not nil.
func ReadTreeWith(ctx context.Context, root fs.FS, linked func(name string, f *Functions)) (pkgs []inventory.Package, unread []string, err error) {
	n, size := 0, 0
	projects := map[string]*Project{}
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if n++; n > maxTree {
			return errdefs.Limit("more than %d files", maxTree)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err != nil {
			if name == "." {
				return err
			}
			unread = append(unread, name)
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) { // it went meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		if !Wanted(name, info.Mode(), info.Size()) {
			return nil
		}
		file, err := readFile(root, name, info.Size(), linked != nil)
		if err != nil {
			unread = append(unread, name)
		}
		if file.Functions != nil {
			linked(name, file.Functions)
		}
		if file.Project != nil {
			projects[name] = file.Project
			size += file.Project.Size()
		}
		if pkgs = append(pkgs, file.Packages...); len(pkgs) > inventory.MaxPackages || size > MaxProjects {
			return errdefs.Limit("more than %d packages", inventory.MaxPackages)
		}
		return nil
	})
	if err != nil {
		return pkgs, unread, err
	}
	byProject, unresolved, err := Resolve(projects)
	for _, name := range sorted(byProject) {
		pkgs = append(pkgs, byProject[name]...)
	}
	return pkgs, append(unread, unresolved...), err
}

func readFile(root fs.FS, name string, size int64, functions bool) (File, error) {
	f, err := root.Open(name)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	return ParseFrom(name, f, size, functions)
}

// ParseFrom is Parse of a file of about size bytes that r has, with its functions when they are wanted. Of one that is neither named so nor a program, only the first bytes are read; what could be read of an archive comes also with an
// error.
func ParseFrom(name string, r io.Reader, size int64, functions bool) (File, error) {
	if IsProject(name) {
		p, err := ParseProject(name, r)
		return File{Project: p}, err
	}
	x, named := formatOf(name)
	if !named {
		return parseProgram(name, r, size, functions)
	}
	if size > x.limit {
		return File{}, errdefs.Limit("%s is larger than %d bytes", name, x.limit)
	}
	var buf bytes.Buffer
	buf.Grow(int(max(size, 0)) + bytes.MinRead)
	if _, err := io.CopyN(&buf, r, x.limit+1); err != nil && !errors.Is(err, io.EOF) {
		return File{}, err
	}
	f, err := parse(name, buf.Bytes(), functions)
	return File{Packages: f.out, Functions: f.functions}, err
}

// parseProgram is ParseFrom of a file that is looked at only when it begins as a program does.
func parseProgram(name string, r io.Reader, size int64, functions bool) (File, error) {
	var head [4]byte
	n, err := io.ReadFull(r, head[:])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return File{}, err
	}
	if !isProgram(head[:n]) {
		return File{}, nil
	}
	if size > MaxFile {
		return File{}, errdefs.Limit("%s is larger than %d bytes", name, MaxFile)
	}
	data, free := borrow(int(max(size, int64(n))))
	defer free()
	copy(data, head[:n])
	more, err := io.ReadFull(r, data[n:])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return File{}, err
	}
	data = data[:n+more]
	rest, err := io.ReadAll(io.LimitReader(r, MaxFile+1-int64(len(data)))) // of a file that is larger than it was said to be
	if err != nil {
		return File{}, err
	}
	if len(rest) > 0 {
		data = slices.Concat(data, rest)
	}
	f, err := parse(name, data, functions)
	return File{Packages: f.out, Functions: f.functions}, err
}
