package slim

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// Summary sums a selection up.
type Summary struct {
	// Before and After count all files but directories, and the bytes of the regular ones, each inode once.
	Before, After Count
	// Packages are those of the system's that lose something, those that go wholly first; Directories what is left out by the first two directories of the path.
	Packages    []PackageLoss
	Directories []DirectoryLoss
	// Largest are the largest files that are left out.
	Largest []File
	// Setuid and Shells are such programs that are left out.
	Setuid, Shells []string
}

// PackageLoss is what a package loses.
type PackageLoss struct {
	Name, Version string
	// Gone says that nothing of it is kept.
	Gone       bool
	Kept, Left Count
}

// DirectoryLoss is what a directory loses.
type DirectoryLoss struct {
	Path       string
	Kept, Left Count
}

// largest is how many files Summary.Largest has at most.
const largest = 20

// Sum sums the selection up.
func (s *Selection) Sum() Summary {
	var sum Summary
	dirs := map[string]*DirectoryLoss{}
	for _, f := range s.Files {
		parts := strings.SplitN(f.Path, "/", 3)
		dir := path.Join(parts[:min(len(parts)-1, 2)]...)
		d := dirs[dir]
		if d == nil {
			d = &DirectoryLoss{Path: "/" + dir}
			dirs[dir] = d
		}
		sum.Before.add(f.Size)
		if f.Kept {
			size := f.Size
			if text, ok := s.Replaced[f.Path]; ok {
				size = int64(len(text))
			}
			sum.After.add(size)
			d.Kept.add(size)
			continue
		}
		d.Left.add(f.Size)
		sum.Largest = append(sum.Largest, f)
		if f.Setuid {
			sum.Setuid = append(sum.Setuid, "/"+f.Path)
		}
		if isShell(f.Path) {
			sum.Shells = append(sum.Shells, "/"+f.Path)
		}
	}
	for _, text := range s.Added {
		sum.After.add(int64(len(text)))
	}
	slices.SortFunc(sum.Largest, func(a, b File) int { return cmp.Or(cmp.Compare(b.Size, a.Size), strings.Compare(a.Path, b.Path)) })
	sum.Largest = slices.Clip(sum.Largest[:min(len(sum.Largest), largest)])
	for _, d := range dirs {
		if d.Left.Files > 0 {
			sum.Directories = append(sum.Directories, *d)
		}
	}
	slices.SortFunc(sum.Directories, func(a, b DirectoryLoss) int {
		return cmp.Or(cmp.Compare(b.Left.Bytes, a.Left.Bytes), strings.Compare(a.Path, b.Path))
	})
	for i := range s.pkgs {
		p := &s.pkgs[i]
		if p.kept.Files == p.all.Files && p.all.Files > 0 {
			continue
		}
		left := Count{Files: p.all.Files - p.kept.Files, Bytes: p.all.Bytes - p.kept.Bytes}
		sum.Packages = append(sum.Packages, PackageLoss{Name: p.name, Version: p.version, Gone: p.kept.Files == 0, Kept: p.kept, Left: left})
	}
	slices.SortStableFunc(sum.Packages, func(a, b PackageLoss) int {
		if a.Gone != b.Gone {
			if a.Gone {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.Left.Bytes, a.Left.Bytes), strings.Compare(a.Name, b.Name))
	})
	return sum
}

// isShell reports whether a path is that of a shell, by its name.
func isShell(name string) bool {
	dir, base := path.Split(name)
	switch base {
	case "sh", "bash", "dash", "ash", "zsh", "ksh", "csh", "tcsh", "fish", "busybox", "rbash":
		return strings.HasSuffix(dir, "bin/")
	}
	return false
}
