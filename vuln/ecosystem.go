package vuln

import (
	"strings"

	"github.com/camada/camada/inventory"
)

// place is where advisories of a package are looked for.
type place struct {
	// ecosystems are names of the same one, the most likely first.
	ecosystems []string
	// names are the package's that advisories may have, with the versions that they speak of.
	names []nameVersion
}

type nameVersion struct{ name, version string }

// placeOf tells where to look; ok is false for a kind of package that no database knows.
func placeOf(d inventory.Distribution, p inventory.Package) (pl place, ok bool) {
	binary, source := nameVersion{p.Name, p.Version}, nameVersion{p.Source, p.SourceVersion}
	if source.name == "" {
		source.name = p.Name
	}
	if source.version == "" {
		source.version = p.Version
	}
	switch p.Type {
	case "deb":
		pl = place{debEcosystems(d), []nameVersion{source}}
	case "apk":
		pl = place{apkEcosystems(d), []nameVersion{source}}
	case "rpm":
		pl = place{rpmEcosystems(d), []nameVersion{binary}}
		if source.name != binary.name {
			pl.names = append(pl.names, nameVersion{source.name, p.Version})
		}
	default:
		eco := language(p.Type)
		if eco == "" {
			return pl, false
		}
		pl = place{[]string{eco}, []nameVersion{{languageName(eco, p.Name), p.Version}}}
	}
	return pl, len(pl.ecosystems) > 0
}

// languageName is the package's name as advisories have it.
func languageName(ecosystem, name string) string {
	switch ecosystem {
	case "Go":
		if name == "go" || name == "std" {
			return "stdlib"
		}
	case "Maven":
		if !strings.Contains(name, ":") {
			return strings.Replace(name, "/", ":", 1)
		}
	}
	return name
}

// language is the ecosystem of a type of purl.
func language(purlType string) string {
	switch purlType {
	case "golang":
		return "Go"
	case "npm":
		return "npm"
	case "pypi":
		return "PyPI"
	case "maven":
		return "Maven"
	case "cargo":
		return "crates.io"
	case "gem":
		return "RubyGems"
	case "composer":
		return "Packagist"
	case "nuget":
		return "NuGet"
	case "pub":
		return "Pub"
	case "hex":
		return "Hex"
	case "cran":
		return "CRAN"
	case "hackage":
		return "Hackage"
	case "conan":
		return "ConanCenter"
	case "swift":
		return "SwiftURL"
	}
	return ""
}

// DebianRelease is the number of a release of Debian by its code name; "" is unknown.
func DebianRelease(codename string) string {
	switch codename {
	case "wheezy":
		return "7"
	case "jessie":
		return "8"
	case "stretch":
		return "9"
	case "buster":
		return "10"
	case "bullseye":
		return "11"
	case "bookworm":
		return "12"
	case "trixie":
		return "13"
	case "forky":
		return "14"
	case "duke":
		return "15"
	}
	return ""
}

// debianNumber is the number of a release, before its point; package URLs may have its code name in its place.
func debianNumber(d inventory.Distribution) string {
	release, _, _ := strings.Cut(d.VersionID, ".")
	if n := DebianRelease(release); n != "" {
		return n
	}
	if release == "" {
		return DebianRelease(d.Codename)
	}
	return release
}

// ubuntuNumber is the number of a release with long support, by its code name too.
func ubuntuNumber(release string) string {
	switch release {
	case "trusty":
		return "14.04"
	case "xenial":
		return "16.04"
	case "bionic":
		return "18.04"
	case "focal":
		return "20.04"
	case "jammy":
		return "22.04"
	case "noble":
		return "24.04"
	}
	return release
}

func debEcosystems(d inventory.Distribution) []string {
	switch d.ID {
	case "debian":
		return []string{"Debian:" + debianNumber(d)}
	case "ubuntu":
		release := ubuntuNumber(d.VersionID)
		return []string{"Ubuntu:" + release + ":LTS", "Ubuntu:" + release}
	}
	return nil
}

func apkEcosystems(d inventory.Distribution) []string {
	switch d.ID {
	case "alpine":
		parts := strings.SplitN(d.VersionID, ".", 3)
		return []string{"Alpine:v" + strings.Join(parts[:min(len(parts), 2)], ".")}
	case "wolfi":
		return []string{"Wolfi"}
	case "chainguard":
		return []string{"Chainguard"}
	case "alpaquita":
		return []string{"Alpaquita:" + d.VersionID}
	}
	return nil
}

func rpmEcosystems(d inventory.Distribution) []string {
	major, _, _ := strings.Cut(d.VersionID, ".")
	switch d.ID {
	case "rhel":
		return []string{"Red Hat:enterprise_linux:" + major + "::baseos", "Red Hat:enterprise_linux:" + major + "::appstream"}
	case "rocky":
		return []string{"Rocky Linux:" + major}
	case "almalinux":
		return []string{"AlmaLinux:" + major}
	case "opensuse-leap":
		return []string{"openSUSE:Leap " + d.VersionID}
	case "opensuse-tumbleweed":
		return []string{"openSUSE:Tumbleweed"}
	case "sles":
		release, pack, _ := strings.Cut(d.VersionID, ".")
		if pack == "" {
			return []string{"SUSE:Linux Enterprise Server " + release}
		}
		return []string{"SUSE:Linux Enterprise Server " + release + " SP" + pack}
	case "mageia":
		return []string{"Mageia:" + major}
	case "azurelinux", "mariner":
		return []string{"Azure Linux:" + major}
	case "openEuler":
		return []string{"openEuler:" + d.VersionID}
	}
	return nil
}
