package engine

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/camada/camada/platform"
)

// HumanDuration says how long d is in docker's words: "3 minutes", "About an hour".
func HumanDuration(d time.Duration) string {
	switch s, m, h := int(d.Seconds()), int(d.Minutes()), int(d.Hours()+0.5); {
	case s < 1:
		return "Less than a second"
	case s == 1:
		return "1 second"
	case s < 60:
		return fmt.Sprintf("%d seconds", s)
	case m == 1:
		return "About a minute"
	case m < 60:
		return fmt.Sprintf("%d minutes", m)
	case h == 1:
		return "About an hour"
	case h < 48:
		return fmt.Sprintf("%d hours", h)
	case h < 24*7*2:
		return fmt.Sprintf("%d days", h/24)
	case h < 24*30*2:
		return fmt.Sprintf("%d weeks", h/24/7)
	case h < 24*365*2:
		return fmt.Sprintf("%d months", h/24/30)
	default:
		return fmt.Sprintf("%d years", int(d.Hours())/24/365)
	}
}

// Version is what "camada version" shows.
type Version struct {
	Version   string
	GoVersion string
	Platform  string
	Revision  string `json:",omitempty"`
}

// VersionInfo completes the version with what the compiler knows.
func VersionInfo(version string) Version {
	v := Version{Version: version, GoVersion: runtime.Version(), Platform: platform.Format(platform.Host())}
	if bi, ok := debug.ReadBuildInfo(); ok {
		for _, s := range bi.Settings {
			if s.Key == "vcs.revision" {
				v.Revision = s.Value
			}
		}
	}
	return v
}
