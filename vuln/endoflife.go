package vuln

import (
	"strings"
	"time"

	"github.com/camada/camada/inventory"
)

// EndOfLife is when the support of a distribution's release ends that everyone gets (Debian's LTS included, Ubuntu's Pro not); zero when it is not
// known.
func EndOfLife(d inventory.Distribution) time.Time {
	release := d.VersionID
	switch d.ID {
	case "debian":
		release = debianNumber(d)
	case "ubuntu":
		release = ubuntuNumber(release)
	case "alpine":
		parts := strings.SplitN(release, ".", 3)
		release = strings.Join(parts[:min(len(parts), 2)], ".")
	}
	day := ends(d.ID, release)
	if day == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return time.Time{}
	}
	return t
}

// ends holds the last days.
func ends(id, release string) string {
	switch id + " " + release {
	case "debian 7":
		return "2018-05-31"
	case "debian 8":
		return "2020-06-30"
	case "debian 9":
		return "2022-06-30"
	case "debian 10":
		return "2024-06-30"
	case "debian 11":
		return "2026-08-31"
	case "debian 12":
		return "2028-06-30"
	case "debian 13":
		return "2030-06-30"
	case "ubuntu 14.04":
		return "2019-04-30"
	case "ubuntu 16.04":
		return "2021-04-30"
	case "ubuntu 18.04":
		return "2023-05-31"
	case "ubuntu 20.04":
		return "2025-05-31"
	case "ubuntu 22.04":
		return "2027-04-30"
	case "ubuntu 24.04":
		return "2029-04-30"
	case "alpine 3.12":
		return "2022-05-01"
	case "alpine 3.13":
		return "2022-11-01"
	case "alpine 3.14":
		return "2023-05-01"
	case "alpine 3.15":
		return "2023-11-01"
	case "alpine 3.16":
		return "2024-05-23"
	case "alpine 3.17":
		return "2024-11-22"
	case "alpine 3.18":
		return "2025-05-09"
	case "alpine 3.19":
		return "2025-11-01"
	case "alpine 3.20":
		return "2026-04-01"
	case "alpine 3.21":
		return "2026-11-01"
	case "alpine 3.22":
		return "2027-05-01"
	}
	if id == "alpine" && len(release) == 3 || id == "alpine" && (release == "3.10" || release == "3.11") {
		return "2021-11-01" // all before 3.12
	}
	return ""
}
