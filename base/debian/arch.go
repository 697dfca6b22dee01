package debian

import "runtime"

// hostArch is Debian's name of the machine's architecture.
func hostArch() string {
	switch runtime.GOARCH {
	case "386":
		return "i386"
	case "arm":
		return "armhf"
	case "ppc64le":
		return "ppc64el"
	case "mips64le":
		return "mips64el"
	case "mipsle":
		return "mipsel"
	}
	return runtime.GOARCH
}

// goArch is the OCI name and variant of a Debian architecture.
func goArch(deb string) (arch, variant string) {
	switch deb {
	case "i386":
		return "386", ""
	case "armhf":
		return "arm", "v7"
	case "armel":
		return "arm", "v5"
	case "ppc64el":
		return "ppc64le", ""
	case "mips64el":
		return "mips64le", ""
	case "mipsel":
		return "mipsle", ""
	}
	return deb, ""
}

// libDirs are the directories beside /lib that an architecture's libraries can be
// in, and that are links into /usr: debootstrap makes the same ones.
func libDirs(arch string) []string {
	switch arch {
	case "amd64":
		return []string{"lib32", "lib64", "libx32"}
	case "i386":
		return []string{"lib64", "libx32"}
	case "mips64el", "mipsel":
		return []string{"lib32", "lib64", "libo32"}
	case "loong64", "ppc64", "ppc64el", "sparc64":
		return []string{"lib32", "lib64"}
	case "s390x":
		return []string{"lib32"}
	}
	return nil
}
